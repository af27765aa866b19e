"""The deliberate faults, by room: wrong numbers, silent acceptance, unnoticed damage."""

from typing import NamedTuple


class Fault(NamedTuple):
    """One replacement in one file, and where the tests are that should notice it.

    Attributes:
      path: the file, from the root of the repository.
      before: text that occurs exactly once in the file.
      after: what takes its place.
      tests: files and folders of tests.
    """

    path: str
    before: str
    after: str
    tests: tuple[str, ...]


def _in(path: str, *tests: str, faults: dict[str, str]) -> list[Fault]:
    return [Fault(path, before, after, tests) for before, after in faults.items()]


_OPTIONS = (
    *_in(
        "nce_jax/_options.py",
        "tests/test_options.py",
        faults={
            "if not isinstance(value, bool | np.bool_):": "if isinstance(value, str):",
            "if not is_valid(value):": "if False:",
            "signature.bind(*[None] * num_arguments)": "pass",
        },
    ),
    *_in(
        "nce_jax/_contracts.py",
        "tests/test_options.py",
        faults={"if is_other or not isinstance(leaf, kinds):": "if is_other:"},
    ),
    *_in(
        "nce_jax/log_partition/problem.py",
        "tests/log_partition/test_bad_input.py",
        faults={"jnp.shape(problem.data.values)[:-1])": "jnp.shape(value))"},
    ),
)

_LOSSES = (
    *_in(
        "nce_jax/_numerics.py",
        "tests/test_numerics.py",
        "tests/losses",
        "tests/diagnostics",
        faults={
            "is_candidate = is_weighted & jnp.isfinite(samples)": "is_candidate = is_weighted",
            "jax.nn.sigmoid(*primals) * tangents[0]": "jax.nn.sigmoid(-primals[0]) * tangents[0]",
            "correction = 1 - jnp.sum(jnp.square(block_weights), axis=-1)": (
                "correction = 1 - 0 * jnp.sum(jnp.square(block_weights), axis=-1)"
            ),
        },
    ),
    *_in(
        "nce_jax/losses/_binary.py",
        "tests/losses/test_binary_loss.py",
        faults={
            "softplus((sides.noise - sides.shift) - offset)": "softplus(sides.noise - sides.shift)",
            "softplus(offset - (sides.data - sides.shift))": "softplus(offset - sides.data)",
        },
    ),
    *_in(
        "nce_jax/losses/_exponential.py",
        "tests/losses/test_exponential_loss.py",
        faults={
            "return log_mean_noise - log_mean_data": "return log_mean_noise + log_mean_data",
            "jnp.exp((sides.noise - sides.shift) / 2)": "jnp.exp(sides.noise - sides.shift)",
        },
    ),
    *_in(
        "nce_jax/losses/_divergence.py",
        "tests/losses/test_divergence_losses.py",
        faults={
            "jnp.exp(2 * (sides.noise - sides.shift))": "jnp.exp(sides.noise - sides.shift)",
            "log_mean_exp(2 * sides.noise, sides.weights_noise)": (
                "2 * log_mean_exp(sides.noise, sides.weights_noise)"
            ),
        },
    ),
    *_in(
        "nce_jax/losses/_inference.py",
        "tests/losses/test_inference_losses.py",
        faults={"jnp.square(imbalance)": "jnp.abs(imbalance)"},
    ),
)

_SOLVERS = (
    *_in(
        "nce_jax/log_partition/evaluation.py",
        "tests/log_partition",
        faults={
            # Counts that never agree to rounding: a gap is then decided by it.
            "rounding = 4 * jnp.finfo": "rounding = 0 * jnp.finfo",
            "0.5 * jnp.square(delta) * jnp.exp(delta)": "0.05 * jnp.square(delta)",
            "-jnp.log1p(-jnp.minimum(size, MAX_LINEAR))": "0.1 * jnp.minimum(size, MAX_LINEAR)",
        },
    ),
    *_in(
        "nce_jax/log_partition/equation.py",
        "tests/log_partition",
        "tests/diagnostics",
        faults={
            "log_overlap + jnp.log(sum(counts)) < 0": "log_overlap + jnp.log(sum(counts)) < -3",
            "jnp.logaddexp(log_kappa, 0.0) - log_kappa": "jnp.logaddexp(log_kappa, 0.0)",
        },
    ),
    *_in(
        "nce_jax/log_partition/implicit.py",
        "tests/log_partition",
        faults={
            "return moved - _weight_tangent(": "return moved + _weight_tangent(",
            "jnp.exp(log_kappa + log_mean_q - log_slope) - sample_part": (
                "jnp.exp(log_kappa + log_mean_q - log_slope)"
            ),
            "jnp.logaddexp(log_slope, jnp.log(pull.slope))": "log_slope",
        },
    ),
    *_in(
        "nce_jax/log_partition/_loop.py",
        "tests/log_partition",
        # One step too many.
        faults={"run.num_evaluations < max_steps": "run.num_evaluations <= max_steps"},
    ),
    *_in(
        "nce_jax/log_partition/_log_scale.py",
        "tests/log_partition",
        faults={"jnp.log(jnp.maximum(-constant, 0))": "-jnp.inf"},
    ),
    *_in(
        "nce_jax/log_partition/_tolerance.py",
        "tests/log_partition",
        faults={"eps**0.75": "eps**0.5"},
    ),
    *_in(
        "nce_jax/criteria/_regularized.py",
        "tests/criteria",
        faults={
            "slope = 4 * as_scalar": "slope = 2 * as_scalar",
            "slope = first.slope + second.slope": "slope = first.slope",
        },
    ),
)

_DIAGNOSTICS = (
    *_in(
        "nce_jax/diagnostics/_bootstrap.py",
        "tests/diagnostics/test_bootstrap.py",
        faults={
            "jnp.std(values, axis=0, ddof=1)": "jnp.std(values, axis=0) / 2",
            "key_data, key_noise = jax.random.split(key)": "key_data = key_noise = key",
        },
    ),
    *_in(
        "nce_jax/diagnostics/_divergence.py",
        "tests/diagnostics/test_divergence.py",
        faults={"softplus(-log_kappa) - softplus(": "softplus(log_kappa) - softplus("},
    ),
    *_in(
        "nce_jax/diagnostics/_info_nce.py",
        "tests/diagnostics/test_info_nce.py",
        faults={"weighted_mean(log_candidates, weights)": "jnp.mean(log_candidates, axis=-1)"},
    ),
    *_in(
        "nce_jax/free_energy.py",
        "tests/test_free_energy.py",
        faults={
            "forward, reverse) * inefficiency + rounding": "forward, reverse) + rounding",
            "effective_samples(*zip(influences, weights, strict=True)) / inefficiency": (
                "effective_samples(*zip(influences, weights, strict=True))"
            ),
        },
    ),
    *_in(
        "nce_jax/likelihood/_transforms.py",
        "tests/likelihood",
        faults={
            "math.log1p(-2 * alpha) - log_p - log_q": "-log_p - log_q",
            "jnp.minimum(spread, jnp.nextafter(levels + 1, levels))": "spread",
        },
    ),
)

_MAGNIFICATION = (
    *_in(
        "nce_jax/magnification/_adaptive_rule.py",
        "tests/magnification",
        faults={
            # The variance of the running mean of what an M overlooks.
            "(1 - gain) ** 2, gain**2": "1 - gain, gain",
            "jnp.where(is_first, candidate, state.candidate + 1)": "candidate",
            "_SIGNIFICANCE * jnp.sqrt(state.overlooked_variance)": "0.0",
        },
    ),
    *_in(
        "nce_jax/magnification/_windows.py",
        "tests/magnification",
        faults={
            "decay**2 * windows.noise_square": "decay * windows.noise_square",
            "noise = jnp.where(is_solvable, jnp.clip(noise, 0, largest_noise), 0)": (
                "noise = jnp.where(is_solvable, noise, 0)"
            ),
        },
    ),
    *_in(
        "nce_jax/magnification/_candidates.py",
        "tests/magnification",
        faults={"MIN_EFFECTIVE = 10.0": "MIN_EFFECTIVE = 2.0"},
    ),
)

_TELESCOPING = (
    *_in(
        "nce_jax/telescoping/_bridges.py",
        "tests/telescoping/test_bridges.py",
        "tests/telescoping/test_interface.py",
        faults={
            "jnp.sqrt((1 - a) * (1 + a)) * ends[0]": "(1 - a) * ends[0]",
            "return of_stages(x[:-1]), of_stages(x[1:])": (
                "return of_stages(x[1:]), of_stages(x[:-1])"
            ),
        },
    ),
    *_in(
        "nce_jax/telescoping/_influences.py",
        "tests/telescoping/test_errors.py",
        faults={
            "for total in totals)\n    return data + noise": "for total in totals)\n    return 0",
            "~has_gap & (number >= MIN_EFFECTIVE_SAMPLES)": "~has_gap",
        },
    ),
    *_in(
        "nce_jax/telescoping/_errors.py",
        "tests/telescoping/test_errors.py",
        faults={"influence - of_roots, number": "influence + of_roots, number"},
    ),
    *_in(
        "nce_jax/telescoping/_noise_levels.py",
        "tests/telescoping/test_noise_levels.py",
        faults={"np.exp(-(distances**2) / 8)": "np.exp(-(distances**2) / 4)"},
    ),
)

_NOISE = (
    *_in(
        "nce_jax/noise/_alias.py",
        "tests/noise",
        faults={"remaining[alias] -= 1 - remaining[cell]": "remaining[alias] -= remaining[cell]"},
    ),
    *_in(
        "nce_jax/noise/_marginals.py",
        "tests/noise",
        faults={"0.9 * spread * points.shape[0] ** -0.2": "0.9 * spread * points.shape[0] ** -0.5"},
    ),
    *_in(
        "nce_jax/noise/_vocabulary.py",
        "tests/noise",
        faults={
            "wrap_negative_indices=False": "wrap_negative_indices=True",
            "jnp.minimum(ids, self._num_words - 1)": "ids + 1",
        },
    ),
)

_SAMPLERS = (
    *_in(
        "nce_jax/samplers/_annealing.py",
        "tests/samplers",
        faults={"sign * log_mean, jnp.nan": "log_mean, jnp.nan"},
    ),
    *_in(
        "nce_jax/samplers/_kernels.py",
        "tests/samplers",
        faults={"jnp.sqrt(2 * tau)": "jnp.sqrt(tau)"},
    ),
)

_MODELS = (
    *_in(
        "nce_jax/models/_exponential_family.py",
        "tests/models",
        faults={"return log_density + as_module_values": "return log_density - as_module_values"},
    ),
    *_in(
        "nce_jax/models/_quadratic_head.py",
        "tests/models",
        faults={"self.min_eigenvalue * jnp.sum(features**2": "0.0 * jnp.sum(features**2"},
    ),
)

_EAGER = (
    *_in(
        "nce_jax/_eager.py",
        "tests/test_eager.py",
        faults={"index < inputs.counts[side.weights]": "index <= inputs.counts[side.weights]"},
    ),
    *_in(
        "nce_jax/_offset.py",
        "tests/test_eager.py",
        "tests/test_free_energy.py",
        faults={"_FRACTION_OF_ERROR = 0.1": "_FRACTION_OF_ERROR = 100.0"},
    ),
    *_in(
        "nce_jax/log_partition/interval.py",
        "tests/diagnostics",
        "tests/test_free_energy.py",
        faults={"~(effective_samples >= MIN_EFFECTIVE_SAMPLES)": "(effective_samples < 0)"},
    ),
)

_TRAINING = (
    *_in(
        "nce_jax/training/_treatments.py",
        "tests/training/test_step.py",
        "tests/training/test_fixed_steps.py",
        faults={
            "params_wait=is_short": "params_wait=None",
            "log_partition if warm_start else None": "None",
        },
    ),
    *_in(
        "nce_jax/training/_batches.py",
        "tests/training/test_fit.py",
        "tests/training/test_resume.py",
        faults={
            "[*self._seed, number]": "[*self._seed]",
            "while self._position < step:": "while self._position < step - 1:",
        },
    ),
    *_in(
        "nce_jax/training/_momentum.py",
        "tests/training/test_momentum.py",
        faults={"ratio / (1 - ratio) * leaves[-1]": "ratio * leaves[-1]"},
    ),
    *_in(
        "nce_jax/training/_rows.py",
        "tests/training/test_rows.py",
        faults={
            "jnp.where((flat < 0) | (flat >= num_rows), num_rows, flat)": (
                "jnp.clip(flat, 0, num_rows - 1)"
            )
        },
    ),
)

_FILES = (
    *_in(
        "nce_jax/training/_stored.py",
        "tests/training/test_resume.py",
        # A checkpoint under another step's name.
        faults={'if record["step"] != self.step:': 'if record["step"] < 0:'},
    ),
    *_in(
        "nce_jax/sweeps/_store.py",
        "tests/sweeps/test_store.py",
        # Chunks that were exchanged with their seals.
        faults={
            'if _record(arrays, path) != {"chunk": number, **self._record}:': (
                "if not _record(arrays, path):"
            )
        },
    ),
    *_in(
        "experiments/common/check.py",
        "tests/experiments/test_check.py",
        "tests/experiments/test_headline_numbers.py",
        # A number that came out too small.
        faults={"abs(number - value) <= tolerance": "number - value <= tolerance"},
    ),
    *_in(
        "experiments/common/published.py",
        "tests/experiments/test_mnist_images.py",
        # A download without a limit.
        faults={"_fetch(url, file.num_bytes)": "_fetch(url, 2**60)"},
    ),
)

_SWEEPS = (
    *_in(
        "nce_jax/sweeps/_mean.py",
        "tests/sweeps",
        faults={
            "np.sqrt(sum_of_squares / (number - 1) / number)": (
                "np.sqrt(sum_of_squares / number / number)"
            ),
            "_masked(np.asarray(leaf), ~failed, position)[0]": (
                "_masked(np.asarray(leaf), failed | True, position)[0]"
            ),
        },
    ),
)

FAULTS: tuple[Fault, ...] = (
    *_OPTIONS,
    *_LOSSES,
    *_SOLVERS,
    *_DIAGNOSTICS,
    *_MAGNIFICATION,
    *_TELESCOPING,
    *_NOISE,
    *_SAMPLERS,
    *_MODELS,
    *_EAGER,
    *_TRAINING,
    *_FILES,
    *_SWEEPS,
)
"""Every fault that the tests are tried on."""
