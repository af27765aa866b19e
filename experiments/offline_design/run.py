"""Proposes designs by every method and seed, for both tasks, and scores them by the oracle."""

from collections.abc import Iterator
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from experiments.common import cli, progress, results
from experiments.offline_design import generator, methods, selection, tasks
from experiments.offline_design.config import PRESETS, Config
from experiments.offline_design.scores import Score, judge
from experiments.offline_design.statistics import headline
from nce_jax import training

Proposals = Iterator[tuple[str, int, np.ndarray]]
"""Method, seed, and candidates (n, length)."""


def experiment(config: Config, key: jax.Array) -> results.Result:
    """Runs both tasks; `<task>_<measure>` has shape (methods, seeds), in the order of `methods`.

    `<task>_choice_<method>` has the medians that decided on the settings, (settings, seeds).
    """
    first, second = tasks.load(config)
    arrays: dict[str, np.ndarray] = {"task_names": np.array([first.name, second.name])}
    latent = partial(latent_methods, config)
    target, medians = choose_target(config, first, jax.random.fold_in(key, 1))
    arrays[f"{first.name}_choice_latent"] = medians
    for number, task in enumerate((first, second)):
        key_task = jax.random.fold_in(key, 2 + number)
        trainers = methods.compile_for(config, task)
        choices = selection.choose(config, task, trainers, key_task)
        scores: dict[str, list[Score]] = {}
        proposals = [
            simple_methods(config, task, key_task),
            trained_methods(config, task, trainers, choices, key_task),
            latent(task, target, key_task),
        ]
        rows = (row for part in proposals for row in part)
        for name, _, x in progress.track(rows, f"offline_design, {task.name}"):
            scores.setdefault(name, []).append(judge(x, task.oracle(x)))
        arrays["methods"] = np.array(list(scores))
        for field in Score._fields:
            values = [[getattr(score, field) for score in row] for row in scores.values()]
            arrays[f"{task.name}_{field}"] = np.array(values)
        arrays |= {
            f"{task.name}_choice_{name.replace(' ', '_')}": values
            for name, values in choices.medians.items()
        }
        arrays[f"{task.name}_chosen"] = np.array(
            [choices.regression, *(v for pair in choices.ratio.values() for v in pair), target]
        )
    return results.Result(arrays, headline(arrays))


def seed_keys(config: Config, key: jax.Array, number: int) -> list[tuple[int, jax.Array]]:
    """The seeds with their keys for a group of methods."""
    return list(enumerate(jax.random.split(jax.random.fold_in(key, number), config.num_seeds)))


def simple_methods(config: Config, task: tasks.Task, key: jax.Array) -> Proposals:
    """The best of the given designs, and random ones."""
    for seed, key_seed in seed_keys(config, key, 0):
        yield "given", seed, task.x[-config.num_candidates :]
        shape = config.num_candidates, task.x.shape[1]
        random = jax.random.randint(key_seed, shape, 0, tasks.NUM_LETTERS)
        yield "random", seed, np.asarray(random)


def trained_methods(
    config: Config,
    task: tasks.Task,
    trainers: methods.Trainers,
    choices: selection.Choices,
    key: jax.Array,
) -> Proposals:
    """Regression and log ratios; networks of a seed begin at the same weights."""
    propose = partial(methods.candidates_of, config, task, trainers)
    for seed, key_seed in seed_keys(config, key, 1):
        keys = jax.random.split(key_seed, config.num_members)
        fitted = [trainers.regression(len(task.x), choices.regression, k) for k in keys]
        single = methods.stack(fitted[:1])
        yield "regression", seed, propose(single, key_seed)
        start = methods.best_given(task, config.num_candidates)
        yield "regression, ascent", seed, np.asarray(trainers.ascent(single, start))
        yield "regression, averaged", seed, propose(methods.stack(fitted), key_seed)
        for magnification, (fraction, weight_decay) in choices.ratio.items():
            for name, fit in trainers.ratio.items():
                options = methods.top(task, fraction), weight_decay, magnification
                label = f"ratio, M = {magnification:g}, F {name}"
                yield label, seed, propose(methods.stack([fit(*options, keys[0])]), key_seed)
        fraction, weight_decay = choices.ratio[config.magnifications[0]]
        options = methods.top(task, fraction), weight_decay, config.magnifications[0]
        averaged = methods.stack([trainers.ratio["solved"](*options, k) for k in keys])
        yield "ratio, averaged", seed, propose(averaged, key_seed)
        # The sum of the stages' log ratios and their mean rank designs alike.
        chain = [
            trainers.ratio["solved"](ranges, weight_decay, config.magnifications[0], keys[0])
            for ranges in methods.stages(config, task)
        ]
        yield "3 stages in y", seed, propose(methods.stack(chain), key_seed)


def latent_priors(config: Config) -> dict[str, generator.Prior]:
    """The priors of the latent method by name."""
    priors = {"latent, N(0, I)": generator.make_prior(config, None)}
    for magnification in config.magnifications:
        for name, treatment in methods.TREATMENTS.items():
            label = f"latent, M = {magnification:g}, F {name}"
            priors[label] = generator.make_prior(config, treatment, magnification=magnification)
    magnification, num_stages = config.magnifications[-1], len(config.latent_levels) - 1
    priors[f"latent, M = {magnification:g}, {num_stages} stages"] = generator.make_prior(
        config, methods.TREATMENTS["solved"], magnification=magnification, num_stages=num_stages
    )
    return priors


def latent_methods(config: Config, task: tasks.Task, target: float, key: jax.Array) -> Proposals:
    """Designs sampled given the target by generators with every prior."""
    for label, prior in latent_priors(config).items():
        propose = _compiled(config, task, prior, targets=[target])
        for seed, key_seed in seed_keys(config, key, 2):
            x, values = (np.asarray(part)[0] for part in propose(len(task.x), key_seed))
            yield label, seed, methods.candidates.best_distinct(x, values, config.num_candidates)


def _compiled(config: Config, task: tasks.Task, prior: generator.Prior, targets: list[float]):
    """`propose(end, key)`; targets are in standard deviations above the largest y before `end`."""
    x, y = jnp.asarray(task.x), jnp.asarray(methods.standardized(task))

    @jax.jit
    def propose(end: jax.Array, key: jax.Array):
        goals = y[end - 1] + jnp.array(targets)
        return generator.propose(config, prior, x, y, end, targets=goals, key=key)

    return propose


def choose_target(config: Config, task: tasks.Task, key: jax.Array) -> tuple[float, np.ndarray]:
    """The target whose candidates are best, where the upper part of the given half is held out.

    Candidates that are not among the given designs have no known score, and are left out.
    """
    prior = generator.make_prior(config, training.solved())
    propose = _compiled(config, task, prior, list(config.targets))
    known = np.full(len(task.space), np.nan)
    known[tasks.index_of(task.x)] = task.y
    medians = np.zeros((len(config.targets), config.num_selection_seeds))
    for seed, key_seed in enumerate(jax.random.split(key, config.num_selection_seeds)):
        proposed, values = map(np.asarray, propose(len(task.x) // 2, key_seed))
        for number, (x, value) in enumerate(zip(proposed, values, strict=True)):
            chosen = methods.candidates.best_distinct(x, value, config.num_candidates)
            medians[number, seed] = np.nanmedian(known[tasks.index_of(chosen)])
    return config.targets[best_row(medians)], medians


def best_row(medians: np.ndarray) -> int:
    """The row of the largest mean; one with a NaN, no candidate of which is known, is the last."""
    return int(np.argmax(np.nan_to_num(medians.mean(axis=1), nan=-np.inf)))


if __name__ == "__main__":
    cli.main("offline_design", PRESETS, experiment)
