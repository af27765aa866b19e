"""Value guidance: a function of state and time tells each step what its end will cost.

The sampler's gradient does not pass through its later steps (Yoon et al., 2024, algorithm 1): the
value function learns the cost to go by differences of successive states, and every step is moved
towards lower values of its own end. It is a loop of its own around the critic's train step.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from experiments.common.critic_methods import Method
from experiments.common.perceptron import init_mlp, mlp, with_time
from experiments.diffusion_critic import methods, sampler
from experiments.diffusion_critic.config import Config
from nce_jax import training


class State(NamedTuple):
    """Sampler, value function and critic, with the states of their optimizers."""

    params: Any
    opt_state: Any
    value: Any
    value_opt_state: Any
    critic: training.TrainState


def make(
    config: Config, length: int, method: Method, rate: Any
) -> tuple[Callable[..., State], Callable[..., tuple[State, dict[str, jax.Array]]]]:
    """`init(params, critic_params, key)` and `step(state, x_data, key)`."""
    critic = methods.make_critic(config, method, 1.0)
    optimizer = methods.sampler_optimizer(config, rate)
    value_optimizer = optax.adam(config.critic_rate, b1=0.5)

    def init(params: Any, critic_params: Any, key: jax.Array) -> State:
        value = init_mlp(key, (5, *config.hidden, 1))
        states = optimizer.init(params), value, value_optimizer.init(value)
        return State(params, *states, critic.init(critic_params))

    def step(state: State, x_data: jax.Array, key: jax.Array):
        keys = jax.random.split(key)
        path = sampler.sample_path(config, length, state.params, keys[0], len(x_data))
        path = jax.lax.stop_gradient(path)
        of_critic, seen = critic(state.critic, training.Batch(x_data, path.after[-1]), keys[1])

        def value_loss(value: Any) -> jax.Array:
            target = jax.lax.stop_gradient(_cost_to_go(config, length, value, of_critic, path))
            return jnp.mean((_values(length, value, path.before, 0) - target) ** 2)

        updates, value_opt_state = value_optimizer.update(
            jax.grad(value_loss)(state.value), state.value_opt_state, state.value
        )
        value = optax.apply_updates(state.value, updates)

        def sampler_loss(params: Any) -> jax.Array:
            moved = sampler.take_steps(config, length, params, keys[0], path.before)
            return jnp.mean(jnp.sum(_cost_to_go(config, length, value, of_critic, moved), axis=0))

        gradient = jax.grad(sampler_loss)(state.params)
        updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        metrics = {"overlap": seen.overlap, "log_partition": seen.log_partition}
        return State(params, opt_state, value, value_opt_state, of_critic), metrics

    return init, step


def _values(length: int, value: Any, x: jax.Array, first: int) -> jax.Array:
    """The value of states (steps, n, 2), the first of them after so many steps of the sampler."""
    time = 1 - (first + jnp.arange(len(x))) / length
    return jax.vmap(lambda x, time: mlp(value, with_time(x, time))[:, 0])(x, time)


def _cost_to_go(
    config: Config, length: int, value: Any, critic: training.TrainState, path: sampler.Path
) -> jax.Array:
    """The cost of each step and the value of where it leads, (T, n); at the end, the energy."""
    energy = -methods.log_ratio_fn(critic.params, path.after[-1])
    later = jnp.concatenate([_values(length, value, path.after[:-1], 1), energy[None]])
    return sampler.step_costs(config, path) + later
