"""Encoder, convolutional generator and prior trained at once, by `latent.make_latent_step`.

Ready to run on a GPU. It was run at a width of two channels only, in tests.
"""

import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from experiments.common import pieces
from experiments.common.latent_priors import Prior, PriorSettings, initial_params, make_step
from experiments.latent_energy import direct_priors, evaluation, features
from experiments.latent_energy.cells import HERE, SOURCES, load_once, prior_settings
from experiments.latent_energy.config import Config, JointSetSettings, SetSettings, part, priors
from experiments.latent_energy.evaluation import Judge, Row
from experiments.latent_energy.images import Images
from experiments.latent_energy.networks import LAYOUTS, Networks, make_networks
from nce_jax import latent, samplers, training

BLOCK = 500
FEATURES_OF = {"celeba": "cifar10", "celeba-hq": "cifar10"}
"""Sets without labels, and the set whose classifier judges them, at its resolution."""
STANDARD = "N(0, I)"


class Judging(NamedTuple):
    """All that judges a set: the classifier's features, those of the reference, the accuracy."""

    features: Any
    reference: np.ndarray
    accuracy: float


def set_rows(
    config: Config, name: str, seeds: Iterable[int]
) -> tuple[list[dict[str, Row]], dict[str, Row], Path]:
    """Rows of every seed by method, and those of the real images, with the folder of the pieces."""
    sources = [*SOURCES, HERE / "joint.py", HERE / "networks.py"]
    folder = pieces.folder("latent_energy-joint", part(config, JointSetSettings), sources)
    images = load_once(name)
    judging = judge_of(config, name, images)
    found = Judge(judging.features, judging.reference, lambda z: z, part(config, SetSettings))

    def real() -> Row:
        return found.distances(images.held_out) | {"accuracy": np.array(judging.accuracy)}

    real_row = pieces.load_or_compute(folder / f"{name}-real.npz", real)
    rows = []
    for seed in seeds:
        of_seed: dict[str, Row] = {}
        for prior in methods(config):
            path = folder / f"{name}-{seed}-{'-'.join(prior.name.split())}.npz"
            compute = partial(method_row, config, name, prior, seed, found)
            of_seed[prior.name] = pieces.load_or_compute(path, compute)
            print(f"  {name}, joint, seed {seed}, {prior.name}: done", flush=True)
        # Every method has a generator of its own, and thus a posterior: the first one's is printed.
        first = of_seed[methods(config)[0].name]
        of_seed["posterior"] = {
            key.removeprefix("posterior_"): value
            for key, value in first.items()
            if key.startswith("posterior_")
        }
        rows.append(of_seed)
    return rows, {"real": real_row}, folder


def all_methods(config: Config) -> list[Prior]:
    """Every prior of the joint training, N(0, I) first."""
    return [Prior(STANDARD, "none"), *priors(config)]


def methods(config: Config) -> list[Prior]:
    """The priors of the joint training that are asked for, by default all."""
    every = all_methods(config)
    wanted = config.joint_methods or [prior.name for prior in every]
    return [prior for prior in every if prior.name in wanted]


def judge_of(config: Config, name: str, images: Images) -> Judging:
    """The classifier of a set; sets without labels are judged at the resolution of another."""
    labeled = load_once(FEATURES_OF.get(name, name))
    classifier = features.train_classifier(part(config, features.FeatureSettings), labeled)
    side = labeled.shape[0]

    def found(x: np.ndarray) -> np.ndarray:
        return classifier.features(shrink(x, side))

    accuracy = classifier.accuracy(labeled.reference, labeled.labels_reference)
    return Judging(found, found(images.reference), accuracy)


def shrink(x: np.ndarray, side: int) -> np.ndarray:
    """Images averaged over squares of pixels, to a side that divides theirs."""
    count, height, width, channels = x.shape
    if (height, width) == (side, side):
        return x
    squares = x.reshape(count, side, height // side, side, width // side, channels)
    return np.rint(squares.mean(axis=(2, 4))).astype(np.uint8)


def make_train(
    config: Config, prior: Prior, networks: Networks, nz: int
) -> tuple[latent.LatentStep, PriorSettings]:
    """The joint step, and the settings of its prior."""
    of_prior = prior_settings(part(config, SetSettings), prior)
    if config.inference == "amortized":
        inference = latent.amortized(networks.encode)
    elif config.inference == "chains":
        kernel = samplers.langevin(config.posterior_step**2 / 2)
        inference = latent.short_run(kernel, num_steps=config.posterior_steps, dim=nz)
    else:
        raise ValueError(f"inference: expected 'amortized' or 'chains', got {config.inference!r}")
    train = latent.make_latent_step(
        latent.gaussian_likelihood(networks.generate, scale=config.joint_sigma),
        inference,
        optax.adam(config.joint_rate, b1=0.5, b2=0.999),
        prior=None if prior.kind == "none" else make_step(of_prior, prior, nz),
    )
    return train, of_prior


def method_row(config: Config, name: str, prior: Prior, seed: int, found: Judge) -> Row:
    """Trains one method on one set, and judges what it draws."""
    images, nz = load_once(name), config.hq_nz if name == "celeba-hq" else config.joint_nz
    widths = (config.width, config.encoder_width)
    networks, params = make_networks(LAYOUTS[name], images.shape, nz, widths, seed)
    train, of_prior = make_train(config, prior, networks, nz)
    key_init, key_train, key_infer = jax.random.split(jax.random.key(seed), 3)
    first = None if train.prior is None else initial_params(of_prior, prior, key_init, nz)
    begin = time.perf_counter()
    state = training.fit(
        train,
        train.init(params, first),
        partial(_batch, images.train, config.joint_batch, seed),
        key_train,
        num_steps=config.joint_steps,
        progress=False,
    ).state
    seconds = time.perf_counter() - begin
    generate = jax.jit(networks.generate)

    def decode(z: np.ndarray) -> np.ndarray:
        blocks = np.split(np.asarray(z, np.float32), range(BLOCK, len(z), BLOCK))
        x = np.concatenate([np.asarray(generate(state.params, block)) for block in blocks])
        return np.rint((x + 1) * 127.5).astype(np.uint8)

    z = _infer(train, state, images.held_out, key_infer)
    judge = found._replace(decode=decode)
    if train.prior is None:
        row = direct_priors.of_standard_normal(judge, z, z, seed)
    else:
        row = evaluation.of_trained(judge, of_prior, prior, state.prior, z, seed)
    posterior = judge.of_latent(z) | {"information": np.array(np.nan)}
    row |= {f"posterior_{key}": value for key, value in posterior.items()}
    return row | {"seconds": np.array(seconds)}


def _batch(x: np.ndarray, size: int, seed: int, step: int) -> np.ndarray:
    """Random images, whose number depends on the step alone."""
    rows = np.random.default_rng([seed, step]).integers(len(x), size=size)
    return x[np.sort(rows)].astype(np.float32) / 127.5 - 1


def _infer(train: latent.LatentStep, state: Any, x: np.ndarray, key: jax.Array) -> np.ndarray:
    """One draw of z for every image."""
    infer = jax.jit(train.infer)
    blocks = np.split(x, range(BLOCK, len(x), BLOCK))
    drawn = [
        infer(state, block.astype(np.float32) / 127.5 - 1, jax.random.fold_in(key, index))
        for index, block in enumerate(blocks)
    ]
    return np.concatenate([np.asarray(z) for z in drawn])
