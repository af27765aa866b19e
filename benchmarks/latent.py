"""Latent energies: cost of a prior beside its generator, priors in one program, samples.

All networks and batches are those of the preset `cpu` of experiments/latent_energy.
"""

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
from experiments.common import latent_model, latent_priors
from experiments.common.latent_priors import Prior, PriorSettings
from experiments.latent_energy.config import PRESETS, part
from experiments.latent_energy.two_stage import generator_settings
from nce_jax import latent, models, noise, samplers, sweeps, training

PRESET = PRESETS["cpu"]
SHAPE = 28, 28, 1
FEATURES = int(np.prod(SHAPE))
GENERATOR = generator_settings(PRESET, SHAPE)
PRIOR = part(PRESET, PriorSettings)
DIM, BATCH = GENERATOR.nz, GENERATOR.latent_batch
STEPS = 20
SAMPLES, TRANSITIONS = 4_096, 60
ONE = Prior("one stage, solved", magnification=PRESET.magnification)
THREE = ONE._replace(name="three stages, solved", noise_levels=PRESET.noise_levels)


def run(quick: bool) -> Report:
    """A joint step, twelve priors at once, and samples of a prior."""
    with jax.enable_x64(False):
        return Report([*_steps(quick), _many_priors(quick), _samples(quick)])


def _steps(quick: bool) -> list[Row]:
    priors = {"N(0, I)": None, ONE.name: ONE, THREE.name: THREE}
    contenders = {name: Contender(_trainer(prior), STEPS) for name, prior in priors.items()}
    timed = measure(contenders, repetitions=5 if quick else 60, label="latent step")
    return [
        compare(
            f"Step of generator, encoder and prior, {prior.name}",
            timed,
            ours=prior.name,
            against=["N(0, I)"],
            # The prior begins at N(0, I), so that the first bounds are the same.
            check=Check("difference of the first loss, relative", _relative, 1e-5),
            at_most=1.10 if prior is THREE else None,
            is_cost=True,
            unit="step",
            note=f"{multiplications(prior) / multiplications(None):.2f} times the multiplications",
        )
        for prior in (ONE, THREE)
    ]


def _relative(ours: float, theirs: float) -> float:
    return abs(ours / theirs - 1)


def multiplications(prior: Prior | None) -> int:
    """Multiplications of the matrix products that a step needs for each image, with gradients.

    A product costs as much again for the gradient in its weights, and in its input where that is
    asked for. Each stage of a prior is evaluated at both ends of its bridge for its own loss, and
    at z for the bound, whose gradient in z moves the encoder.
    """
    nz, hidden = GENERATOR.nz, GENERATOR.hidden
    encoder = _products(FEATURES, *hidden, 2 * nz)
    decoder = _products(nz, *hidden[::-1], FEATURES)
    total = 3 * (sum(encoder) + sum(decoder)) - encoder[0]
    if prior is not None:
        layers = _products(nz, *PRIOR.prior_hidden, 1)
        own = 2 * (3 * sum(layers) - layers[0])
        total += (len(prior.noise_levels) - 1) * (own + 2 * sum(layers))
    return total


def _products(*sizes: int) -> list[int]:
    return [a * b for a, b in itertools.pairwise(sizes)]


def make_training(prior: Prior | None) -> tuple[latent.LatentStep, latent.LatentState]:
    """The joint step with a prior, or with N(0, I), and the state it begins from."""
    train = latent.make_latent_step(
        latent.gaussian_likelihood(latent_model.generate, scale=GENERATOR.sigma),
        latent.amortized(latent_model.encode),
        optax.adam(GENERATOR.latent_rate),
        prior=None if prior is None else latent_priors.make_step(PRIOR, prior, DIM),
    )
    keys = jax.random.split(jax.random.key(0), 3)
    params = latent_model.initial_params(GENERATOR, keys[0], keys[1], FEATURES)
    if prior is None:
        return train, train.init(params)
    start = latent_priors.initial_params(PRIOR, prior, keys[2], DIM)
    # At the log ratio zero, which is N(0, I).
    start |= {"output": jax.tree.map(jnp.zeros_like, start["output"])}
    return train, train.init(params, start)


def _trainer(prior: Prior | None) -> Callable[[], float]:
    """`STEPS` steps of one run, dispatched in sequence; returns the loss of the very first."""
    train, state = make_training(prior)
    step = jax.jit(train, donate_argnums=0)
    batches = list(jax.random.uniform(jax.random.key(2), (STEPS, BATCH, FEATURES)))
    state, metrics = step(state, batches[0], jax.random.key(1))
    first = float(metrics["loss"])

    def block() -> float:
        nonlocal state
        for batch in batches:
            state, _ = step(state, batch, jax.random.key(1))
        jax.block_until_ready(state)
        return first

    return block


def _many_priors(quick: bool) -> Row:
    """3 M x 4 seeds on the same cached z, against one after another in one compiled program."""
    steps = (2 if quick else 10) * STEPS
    train = _prior_trainer(steps)
    points = {"magnification": jnp.array([1.0, 10.0, 100.0]), "seed": jnp.arange(4)}
    one = jax.jit(train)
    lanes = [(m, seed) for m in points["magnification"] for seed in points["seed"]]
    contenders = {
        "one program": Contender(lambda: nce_jax.sweep(train, axes=points).values, len(lanes)),
        "one after another": Contender(
            lambda: np.array([np.asarray(one(*lane)) for lane in lanes]).reshape(3, 4, -1),
            len(lanes),
        ),
    }
    timed = measure(contenders, repetitions=2 if quick else 7, label="twelve priors")
    return compare(
        "Priors of 3 M x 4 seeds on cached latent variables",
        timed,
        ours="one program",
        against=["one after another"],
        # Seen: 5e-7 to 1.2e-5, since Adam divides small gradients by their rounded size. Training
        # amplifies it, to 7e-4 after 200 steps.
        check=Check(f"difference of the log ratio after {STEPS} steps", _difference_at_first, 1e-4),
        at_least=5.0,
        unit="prior",
        note=f"{steps} steps of batch {PRIOR.prior_batch}",
    )


def _prior_trainer(steps: int) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """A training at M and a seed, whose values are a difference of the log ratio in between."""
    z = jnp.tanh(jax.random.normal(jax.random.key(0), (20_000, DIM)))
    log_ratio = _network(jax.random.key(0))[1]

    def train(magnification: jax.Array, seed: jax.Array) -> jax.Array:
        step = training.make_train_step(
            noise=noise.standard_normal(DIM),
            optimizer=optax.adam(PRIOR.prior_rate),
            log_ratio_fn=log_ratio,
            criterion=nce_jax.criteria.nce(magnification=magnification),
        )
        key = jax.random.key(seed)
        state = step.init(_network(key)[0])

        def body(state, _):
            rows = sweeps.shared(
                lambda key: jax.random.randint(key, (PRIOR.prior_batch,), 0, len(z)),
                jax.random.fold_in(key, state.step),
                step=state.step,
            )
            return step(state, z[rows], key)[0], None

        def part(state, _):
            state, _ = jax.lax.scan(body, state, None, length=STEPS)
            return state, jnp.subtract(*log_ratio(state.params, z[:2]))

        # What the check compares. F would not do: where it is solved for, the gradient in the last
        # bias is rounding, of which Adam makes whole steps, and F follows them. Differences of the
        # log ratio do not.
        return jax.lax.scan(part, state, None, length=steps // STEPS)[1]

    return train


def _difference_at_first(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float(np.max(np.abs(ours - theirs)[..., 0]))


def _network(key: jax.Array) -> tuple[Any, Callable[[Any, jax.Array], jax.Array]]:
    """Initial parameters of a prior's network, and its log ratio."""
    return models.mlp_energy(key, DIM, hidden=PRIOR.prior_hidden)


def _samples(quick: bool) -> Row:
    """Samples of N(0, I) tilted to N(0.5, I), whose mean checks both ways."""
    params, log_ratio = _network(jax.random.key(2))
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
