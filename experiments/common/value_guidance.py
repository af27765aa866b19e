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

from experiments.common.diffusion_steps import Path
from nce_jax import training


class Guided(NamedTuple):
    """A sampler, and the functions that guide it.

    Attributes:
      sample_path: `sample_path(params, key, count)`, so many paths, (T, n, ...).
      take_steps: `take_steps(params, key, before)`, all steps from given states, with the draws of
        `sample_path` by the same key.
      step_costs: the cost of each step of each path, (T, n).
      value_fn: `value_fn(value, x, time)`, the cost to go of states (n, ...) at one time, (n,).
      log_ratio_fn: the critic, minus the energy of an end: `log_ratio_fn(critic_params, x)`.
    """

    sample_path: Callable[[Any, jax.Array, int], Path]
    take_steps: Callable[[Any, jax.Array, jax.Array], Path]
    step_costs: Callable[[Path], jax.Array]
    value_fn: Callable[[Any, jax.Array, jax.Array], jax.Array]
    log_ratio_fn: Callable[[Any, jax.Array], jax.Array]


class State(NamedTuple):
    """Sampler, value function and critic, with the states of their optimizers."""

    params: Any
    opt_state: Any
    value: Any
    value_opt_state: Any
    critic: training.TrainState


def make(
    guided: Guided,
    critic: training.TrainStep,
    optimizer: optax.GradientTransformation,
    value_optimizer: optax.GradientTransformation,
) -> tuple[Callable[..., State], Callable[..., tuple[State, dict[str, jax.Array]]]]:
    """`init(params, value, critic_params)` and `step(state, x_data, key)`."""

    def init(params: Any, value: Any, critic_params: Any) -> State:
        states = optimizer.init(params), value, value_optimizer.init(value)
        return State(params, *states, critic.init(critic_params))

    def step(state: State, x_data: jax.Array, key: jax.Array):
        keys = jax.random.split(key)
        path = jax.lax.stop_gradient(guided.sample_path(state.params, keys[0], len(x_data)))
        of_critic, seen = critic(state.critic, training.Batch(x_data, path.after[-1]), keys[1])

        def value_loss(value: Any) -> jax.Array:
            target = jax.lax.stop_gradient(_cost_to_go(guided, value, of_critic.params, path))
            return jnp.mean((_values(guided, value, path.before, 0) - target) ** 2)

        value, value_opt_state = _descend(
            value_optimizer, value_loss, state.value, state.value_opt_state
        )

        def sampler_loss(params: Any) -> jax.Array:
            moved = guided.take_steps(params, keys[0], path.before)
            return jnp.mean(jnp.sum(_cost_to_go(guided, value, of_critic.params, moved), axis=0))

        params, opt_state = _descend(optimizer, sampler_loss, state.params, state.opt_state)
        metrics = {"overlap": seen.overlap, "log_partition": seen.log_partition}
        return State(params, opt_state, value, value_opt_state, of_critic), metrics

    return init, step


def _descend(
    optimizer: optax.GradientTransformation, loss: Callable[[Any], Any], params: Any, state: Any
) -> tuple[Any, Any]:
    updates, state = optimizer.update(jax.grad(loss)(params), state, params)
    return optax.apply_updates(params, updates), state


def _values(guided: Guided, value: Any, x: jax.Array, first: int) -> jax.Array:
    """The value of states (steps, n, ...), the first after so many steps of the sampler."""
    time = 1 - (first + jnp.arange(len(x))) / (first + len(x))
    return jax.vmap(lambda x, time: guided.value_fn(value, x, time))(x, time)


def _cost_to_go(guided: Guided, value: Any, critic_params: Any, path: Path) -> jax.Array:
    """The cost of each step and the value of where it leads, (T, n); at the end, the energy."""
    energy = -guided.log_ratio_fn(critic_params, path.after[-1])
    later = jnp.concatenate([_values(guided, value, path.after[:-1], 1), energy[None]])
    return guided.step_costs(path) + later
