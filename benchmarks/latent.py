"""Latent energies: cost of a prior beside its generator, priors in one program, samples."""

import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import nce_jax
from benchmarks.harness import Contender, measure
from benchmarks.rows import Check, Report, Row, compare
from nce_jax import latent, noise, samplers, sweeps, telescoping, training

DIM, PIXELS, WIDTH, BATCH, STEPS = 8, 64, 512, 256, 20
PRIOR_WIDTH = 64
LEVELS = (0.0, 0.3, 0.6, 1.0)
SAMPLES, TRANSITIONS = 4_096, 60


def perceptron(key: jax.Array, *sizes: int) -> list[dict[str, jax.Array]]:
    """Weights and biases of every layer."""
    keys = jax.random.split(key, len(sizes) - 1)
    pairs = itertools.pairwise(sizes)
    return [
        {"w": jax.random.normal(key, pair) / jnp.sqrt(pair[0]), "b": jnp.zeros((1, pair[1]))}
        for key, pair in zip(keys, pairs, strict=True)
    ]


def apply(params: list[dict[str, jax.Array]], x: jax.Array) -> jax.Array:
    """The perceptron at x, (n, inputs) -> (n, outputs)."""
    for layer in params[:-1]:
        x = jax.nn.gelu(x @ layer["w"] + layer["b"])
    return x @ params[-1]["w"] + params[-1]["b"]


def log_ratio(params: Any, z: jax.Array) -> jax.Array:
    """The log ratio of a prior, (n, dim) -> (n,)."""
    return apply(params, z)[:, 0]


def run(quick: bool) -> Report:
    """A joint step, twelve priors at once, and samples of a prior."""
    with jax.enable_x64(False):
        return Report([*_steps(quick), _many_priors(quick), _samples(quick)])


def _steps(quick: bool) -> list[Row]:
    names = {"N(0, I)": None, "one stage, solved": LEVELS[::3], "three stages, solved": LEVELS}
    contenders = {name: Contender(_trainer(levels), STEPS) for name, levels in names.items()}
    timed = measure(contenders, repetitions=5 if quick else 60, label="latent step")
    return [
        compare(
            f"Step of generator, encoder and prior, {name}",
            timed,
            ours=name,
            against=["N(0, I)"],
            # The prior begins at N(0, I), so that the first bounds are the same.
            check=Check("difference of the first loss, relative", _relative, 1e-5),
            at_most=1.10 if "three" in name else None,
            is_cost=True,
            unit="step",
        )
        for name in list(names)[1:]
    ]


def _relative(ours: float, theirs: float) -> float:
    return abs(ours / theirs - 1)


def _trainer(levels: tuple[float, ...] | None) -> Callable[[], float]:
    """`STEPS` steps of one run, dispatched in sequence; returns the loss of the very first."""
    keys = jax.random.split(jax.random.key(0), 4)
    params = {
        "encoder": perceptron(keys[0], PIXELS, WIDTH, WIDTH, 2 * DIM),
        "generator": perceptron(keys[1], DIM, WIDTH, WIDTH, PIXELS),
    }
    prior = None if levels is None else _stage_step(levels)
    train = latent.make_latent_step(
        latent.gaussian_likelihood(lambda params, z: apply(params["generator"], z), scale=0.2),
        latent.amortized(lambda params, x: tuple(jnp.split(apply(params["encoder"], x), 2, -1))),
        optax.adam(1e-3),
        prior=prior,
    )
    start = None if levels is None else _stacked(keys[2], len(levels) - 1)
    state, step = train.init(params, start), jax.jit(train, donate_argnums=0)
    batches = list(jax.random.normal(keys[3], (STEPS, BATCH, PIXELS)))
    state, metrics = step(state, batches[0], jax.random.key(1))
    first = float(metrics["loss"])

    def block() -> float:
        nonlocal state
        for batch in batches:
            state, _ = step(state, batch, jax.random.key(1))
        jax.block_until_ready(state)
        return first

    return block


def _stage_step(levels: tuple[float, ...]) -> training.TrainStep:
    return training.make_stage_step(
        telescoping.separate(log_ratio),
        noise.standard_normal(DIM),
        optax.adam(1e-3),
        noise_levels=levels,
        criterion=nce_jax.criteria.nce(magnification=100.0),
    )


def _stacked(key: jax.Array, num_stages: int) -> Any:
    """Parameters of every stage, at the log ratio zero."""
    make = jax.vmap(lambda key: perceptron(key, DIM, PRIOR_WIDTH, PRIOR_WIDTH, 1))
    *hidden, last = make(jax.random.split(key, num_stages))
    return [*hidden, jax.tree.map(jnp.zeros_like, last)]


def _many_priors(quick: bool) -> Row:
    """3 M x 4 seeds on the same cached z, against one after another in one compiled program."""
    steps = 50 if quick else 200
    z = jnp.tanh(jax.random.normal(jax.random.key(0), (20_000, DIM)))
    points = {"magnification": jnp.array([1.0, 10.0, 100.0]), "seed": jnp.arange(4)}

    def train(magnification: jax.Array, seed: jax.Array) -> jax.Array:
        step = training.make_train_step(
            noise=noise.standard_normal(DIM),
            optimizer=optax.adam(1e-3),
            log_ratio_fn=log_ratio,
            criterion=nce_jax.criteria.nce(magnification=magnification),
        )
        key = jax.random.key(seed)
        state = step.init(perceptron(key, DIM, PRIOR_WIDTH, PRIOR_WIDTH, 1))

        def body(state, _):
            rows = sweeps.shared(
                lambda key: jax.random.randint(key, (BATCH,), 0, len(z)),
                jax.random.fold_in(key, state.step),
                step=state.step,
            )
            return step(state, z[rows], key)[0], None

        return jax.lax.scan(body, state, None, length=steps)[0].log_partition

    one = jax.jit(train)
    lanes = [(m, seed) for m in points["magnification"] for seed in points["seed"]]
    contenders = {
        "one program": Contender(lambda: nce_jax.sweep(train, axes=points).values, len(lanes)),
        "one after another": Contender(
            lambda: np.array([float(one(*lane)) for lane in lanes]).reshape(3, 4), len(lanes)
        ),
    }
    timed = measure(contenders, repetitions=2 if quick else 7, label="twelve priors")
    return compare(
        "Priors of 3 M x 4 seeds on cached latent variables",
        timed,
        ours="one program",
        against=["one after another"],
        check=Check("difference of F", lambda a, b: float(np.max(np.abs(a - b))), 1e-2),
        at_least=5.0,
        unit="prior",
        note=f"{steps} steps of batch {BATCH}",
    )


def _samples(quick: bool) -> Row:
    """Samples of N(0, I) tilted to N(0.5, I), whose mean checks both ways."""
    params = perceptron(jax.random.key(2), DIM, 128, 128, 1)
    standard = noise.standard_normal(DIM)

    def tilt(z: jax.Array) -> jax.Array:
        # A network of the usual cost, which adds nothing.
        return 0.5 * jnp.sum(z, axis=-1) + 1e-9 * log_ratio(params, z)

    @jax.jit
    def resampled(key: jax.Array) -> jax.Array:
        return samplers.resample(key, tilt, standard, SAMPLES).x

    @jax.jit
    def chains(key: jax.Array) -> jax.Array:
        key_start, key_chains = jax.random.split(key)
        return samplers.sample_chains(
            key_chains,
            lambda z: tilt(z) + standard.log_prob(z),
            jax.random.normal(key_start, (SAMPLES, DIM)),
            kernel=samplers.langevin(0.08),
            num_steps=TRANSITIONS,
        ).x

    key = jax.random.key(3)
    contenders = {
        "resampling": lambda: jax.block_until_ready(resampled(key)),
        "Langevin": lambda: jax.block_until_ready(chains(key)),
    }
    timed = measure(contenders, repetitions=3 if quick else 15, label="samples of a prior")
    return compare(
        f"{SAMPLES:,} samples of a prior, 20 draws for each",
        timed,
        ours="resampling",
        against=["Langevin"],
        check=Check(
            "distance of the mean of all coordinates from 0.5",
            lambda a, b: abs(float(a.mean()) - 0.5),
            4 / np.sqrt(SAMPLES * DIM / 2),
        ),
        at_least=20.0,
        note=f"{TRANSITIONS} Langevin steps",
    )
