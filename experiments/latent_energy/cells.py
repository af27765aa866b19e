"""Cells of the results, each stored as soon as it is computed: a classifier, a generator, a prior.

Pieces depend on the settings of a cell and on the source of what computes them, not on which sets
and how many seeds are asked for.
"""

import dataclasses
import time
from collections.abc import Iterable
from functools import cache, partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.common import latent_priors, pieces
from experiments.common.latent_priors import Prior, PriorSettings
from experiments.latent_energy import evaluation, features, two_stage
from experiments.latent_energy.config import SetSettings, part, priors
from experiments.latent_energy.direct_priors import DIRECT
from experiments.latent_energy.evaluation import Judge, Row
from experiments.latent_energy.images import Images, load

HERE = Path(__file__).parent
MODULES = ("images", "features", "two_stage", "evaluation", "direct_priors")
SOURCES = [HERE / f"{name}.py" for name in MODULES]
COMMON = HERE.parent / "common"
SOURCES += [COMMON / f"{name}.py" for name in ("latent_model", "latent_priors")]
Rows = dict[str, Row]
load_once = cache(load)


def set_rows(
    settings: SetSettings, name: str, seeds: Iterable[int]
) -> tuple[list[Rows], Rows, Path]:
    """Rows of every seed by method, and those of the real images, with the folder of the pieces."""
    folder = pieces.folder("latent_energy", settings, SOURCES)
    images = load_once(name)
    network = classifier(settings, images, folder / f"{name}.npz")
    reference = network.features(images.reference)
    found = Judge(network.features, reference, lambda z: z, settings)

    def real() -> Row:
        accuracy = network.accuracy(images.reference, images.labels_reference)
        return found.distances(images.held_out) | {"accuracy": np.array(accuracy)}

    real_row = pieces.load_or_compute(folder / f"{name}-real.npz", real)
    rows = []
    for seed in seeds:
        rows.append(_seed_rows(settings, images, found, folder / name, seed))
        print(f"  {name}, seed {seed}: done", flush=True)
    return rows, {"real": real_row}, folder


def classifier(settings: SetSettings, images: Images, path: Path) -> features.Classifier:
    """The classifier of a set, from its piece."""

    def compute() -> dict[str, np.ndarray]:
        trained = features.train_classifier(settings, images)
        return {f"leaf_{i}": np.asarray(x) for i, x in enumerate(jax.tree.leaves(trained.params))}

    arrays = pieces.load_or_compute(path, compute)
    start = features.initial_classifier(settings, images.shape, 0)
    leaves = [arrays[f"leaf_{index}"] for index in range(len(arrays))]
    params = jax.tree.unflatten(jax.tree.structure(start.params), leaves)
    return start._replace(params=params)


def _seed_rows(settings: SetSettings, images: Images, found: Judge, start: Path, seed: int) -> Rows:
    """Rows by method: the posterior, and every prior."""

    def path(name: str) -> Path:
        words = "".join(letter if letter.isalnum() else " " for letter in name.lower()).split()
        return start.with_name(f"{start.name}-{seed}-{'-'.join(words)}.npz")

    def generator() -> dict[str, np.ndarray]:
        return two_stage.pack(two_stage.train(settings, images, seed))

    arrays = pieces.load_or_compute(path("generator"), generator)
    trained = two_stage.unpack(arrays, len(settings.hidden) + 1)
    judge = found._replace(decode=lambda z: trained.decode(z, images.shape))
    z, z_held_out = trained.z_train, trained.z_held_out

    def posterior() -> Row:
        information = np.array(two_stage.information(trained, images))
        return judge.of_latent(z_held_out) | {"information": information}

    rows = {"posterior": pieces.load_or_compute(path("posterior"), posterior)}
    for name, fit in DIRECT.items():
        compute = partial(fit, judge, z, z_held_out, seed)
        rows[name] = pieces.load_or_compute(path(name), compute)
    for prior in priors(settings):

        def trained_prior(prior: Prior = prior) -> Row:
            of_prior = prior_settings(settings, prior)
            state, seconds = train_timed(of_prior, prior, jax.random.key(seed), z)
            row = evaluation.of_trained(judge, of_prior, prior, state, z_held_out, seed)
            return row | {"seconds": np.array(seconds)}

        rows[prior.name] = pieces.load_or_compute(path(prior.name), trained_prior)
    return rows


def prior_settings(settings: SetSettings, prior: Prior) -> PriorSettings:
    """Settings of one prior: maximum likelihood has a learning rate of its own."""
    own = part(settings, PriorSettings)
    if prior.kind == "chains":
        own = dataclasses.replace(own, prior_rate=settings.chain_rate)
    return own


def train_timed(
    settings: PriorSettings, prior: Prior, key: jax.Array, z: np.ndarray
) -> tuple[Any, float]:
    """The state of a prior, and the seconds of its training without the compilation.

    A fixed M is traced, so that one program serves all of them.
    """
    is_fixed = prior.kind == "stages" and prior.magnification is not None
    magnification = np.float32(prior.magnification) if is_fixed else None
    program = _program(settings, prior._replace(name="", magnification=1.0 if is_fixed else None))
    arguments = (key, z, len(z), magnification)
    compiled = _compile(program, arguments)
    begin = time.perf_counter()
    state = jax.block_until_ready(compiled(*arguments))
    return state, time.perf_counter() - begin


@cache
def _program(settings: PriorSettings, prior: Prior) -> Any:
    def train(key: Any, z: Any, count: Any, magnification: Any) -> Any:
        return latent_priors.train_prior(settings, prior, key, z, count, magnification)

    return jax.jit(train)


def _compile(program: Any, arguments: tuple[Any, ...]) -> Any:
    """The program for these arguments, compiled once for each of their shapes."""
    known = _PROGRAMS.setdefault(program, {})
    shape = arguments[1].shape
    if shape not in known:
        known[shape] = program.lower(*arguments).compile()
    return known[shape]


_PROGRAMS: dict[Any, dict[tuple[int, ...], Any]] = {}
