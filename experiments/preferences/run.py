"""Aligns tables and language models with rewards by every loss, and measures the policies.

An interrupted run computes only the missing methods. Run it with `python -m
experiments.preferences.run`.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.common import cli, pieces, progress, results, settings
from experiments.preferences import align, language, methods, tabular
from experiments.preferences.config import PRESETS, Config
from experiments.preferences.statistics import headline

Arrays = dict[str, np.ndarray]

COMPUTING = [
    Path(__file__).with_name(f"{name}.py")
    for name in ("align", "language", "methods", "network", "tabular")
]
LARGEST_KL = 3.0
"""Of the frontiers of tables that are stored, in nats; no run goes that far."""


def experiment(config: Config, key: jax.Array) -> results.Result:
    """Arrays table_K<count>_<measure> and text_K<count>_<measure>.

    Those are (method, beta, seed, checkpoint), these (method, seed, checkpoint), in the order of
    `methods`.

    table_<reference>_<measure>, (seed,), are of policies that are known, and text_frontier_<name>,
    (seed, ...), of what the best policy of a text reaches.
    """
    settings.check_methods(config.methods, methods.METHODS)
    settings.check_least(config, 1, "num_seeds")
    settings.check_even(config, "num_answers", "pool_answers")
    settings.check_least(config, max(config.pool_answers, default=1), "sequences")
    prompts = config.sequences // min(config.pool_answers, default=config.sequences)
    settings.check_least(config, prompts, "pool_size")
    for steps in ("num_steps", "align_steps"):
        settings.steps_between(config, steps)
    key_table, key_text = jax.random.split(key)
    folder = pieces.folder("preferences", config, COMPUTING)
    arrays: Arrays = {
        "methods": np.array(methods.labels(config)),
        "temperature": np.array(config.temperature),
        "alpha": np.array(config.alpha),
        "betas": np.array(config.betas),
    }
    arrays |= _tables(config, folder, jax.random.split(key_table, config.num_seeds))
    arrays |= _texts(config, folder, key_text)
    return results.Result(arrays, headline(arrays), _failed(arrays), (folder,))


def _tables(config: Config, folder: Path, keys: jax.Array) -> Arrays:
    arrays: Arrays = {}
    for name, policy in _known(config).items():

        def of_seed(key: jax.Array, policy: Any = policy) -> tabular.Measures:
            problem = tabular.draw_problem(config, jax.random.split(key)[0])
            return tabular.measure(config, problem, policy(problem, key))

        arrays |= _named(f"table_{name}", jax.jit(jax.vmap(of_seed))(keys))
    arrays |= _frontier(config, keys)
    for count in config.num_answers:

        def train(method: methods.Method, count: int = count) -> tabular.Measures:
            return tabular.train(config, method, count, keys)

        arrays |= _all_methods(config, folder, f"table_K{count}", train)
    return arrays


def _frontier(config: Config, keys: jax.Array) -> Arrays:
    """The best rewards of the tables at KLs from the reference, (seed, KL)."""
    kls = np.linspace(0, LARGEST_KL, 100)

    def of_seed(key: jax.Array) -> jax.Array:
        problem = tabular.draw_problem(config, jax.random.split(key)[0])
        return tabular.frontier(problem, jnp.asarray(kls, jnp.float32))

    rewards = np.asarray(jax.jit(jax.vmap(of_seed))(keys))
    return {
        "table_frontier_kls": np.broadcast_to(kls, rewards.shape),
        "table_frontier_rewards": rewards,
    }


def _known(config: Config) -> dict[str, Callable[[tabular.Problem, jax.Array], jax.Array]]:
    """Policies that are known without training, by name."""
    known: dict[str, Any] = {
        "reference": lambda problem, key: problem.log_reference,
        "optimum": lambda problem, key: tabular.tilted(problem, config.temperature),
    }
    for count in config.num_answers:
        known[f"best_of_{count}"] = lambda problem, key, count=count: tabular.best_of(
            problem, count
        )
        known[f"nca_minimum_{count}"] = lambda problem, key, count=count: tabular.nca_minimum(
            problem, count, config.temperature, key
        )
    return known


def _texts(config: Config, folder: Path, key: jax.Array) -> Arrays:
    keys = jax.random.split(key)
    text = language.load_text()
    reference = language.fit_reference(config, text, keys[0])
    setting = align.Setting(config, text, reference)
    seeds = jax.random.split(keys[1], (config.num_seeds, 3))
    largest = max(config.pool_answers)

    @jax.jit
    def answered(keys: jax.Array) -> tuple[language.Answered, language.Answered]:
        sizes = (config.pool_size, largest), (config.test_prompts, config.reference_answers)
        pool, test = (
            language.draw_answered(config, reference, text, tokens, key, size)
            for tokens, key, size in zip((text.pool, text.test), keys[:2], sizes, strict=True)
        )
        return pool, test

    drawn = [answered(keys) for keys in seeds]
    pool, test = jax.tree.map(lambda *leaves: np.stack(leaves), *drawn)
    reachable = jax.vmap(lambda rewards: language.best_reachable(config, rewards))(test.rewards)
    arrays = _named("text_frontier", reachable)
    arrays |= {"text_loss": np.asarray(reference.loss), "text_rewards": test.rewards.mean((1, 2))}
    arrays["text_spread"] = test.rewards.std(axis=2).mean(axis=1)
    for count in config.pool_answers:

        def train(method: methods.Method, count: int = count) -> align.Measures:
            return align.train(setting, method, count, (pool, test, seeds[:, 2]))

        arrays |= _all_methods(config, folder, f"text_K{count}", train)
    return arrays


def _all_methods(
    config: Config, folder: Path, name: str, train: Callable[[methods.Method], Any]
) -> Arrays:
    """The traces of all methods, in threads: a lane of so small networks occupies one core."""

    def of_method(label: str) -> Arrays:
        slug = label.lower().replace(", ", "-").replace(" ", "_").replace("=", "")
        return pieces.load_or_compute(
            folder / f"{name}-{slug}.npz", lambda: train(methods.METHODS[label])._asdict()
        )

    with ThreadPoolExecutor(min(os.cpu_count() or 1, 4)) as pool:
        futures = [pool.submit(of_method, label) for label in config.methods]
        traces = [future.result() for future in progress.track(futures, f"preferences, {name}")]
    return {f"{name}_{key}": np.concatenate([t[key] for t in traces]) for key in traces[0]}


def _named(prefix: str, measured: Any) -> Arrays:
    return {f"{prefix}_{name}": np.asarray(value) for name, value in measured._asdict().items()}


def _failed(arrays: Arrays) -> Arrays:
    """Lanes without a finite final KL, by problem, K and method."""
    return {
        f"{name.removesuffix('_kl')}, {method}": lanes
        for name in arrays
        if name.endswith("_kl") and "_K" in name
        for method, last in zip(arrays["methods"], arrays[name][..., -1], strict=True)
        if len(lanes := np.argwhere(~np.isfinite(last)))
    }


if __name__ == "__main__":
    cli.main("preferences", PRESETS, experiment)
