"""Deliberate faults in what is computed from samples."""

from tests.mutation.fault import Fault, faults_in

_LOSSES = (
    *faults_in(
        "nce_jax/toys/_toys.py",
        "tests/toys/test_toy_arguments.py",
        faults={"log_constant = math.log(2 * math.pi * std**2 * num_modes)": "log_constant = 0.0"},
    ),
    *faults_in(
        "nce_jax/_numerics.py",
        "tests/test_nan_in_many.py",
        faults={"jnp.where(jnp.any(is_nan, axis=axis), jnp.nan, result)": "result"},
    ),
    *faults_in(
        "nce_jax/_numerics.py",
        "tests/test_numerics.py",
        faults={"is_candidate = is_weighted & jnp.isfinite(samples)": "is_candidate = is_weighted"},
    ),
    # That the value in the place of a padded sample has its gradient stopped is no fault to try:
    # the value is finite and its cotangent is exactly zero (its weight times a finite slope), so
    # that no test can tell. Padding that stays in the sums does leak, where it is not finite.
    *faults_in(
        "nce_jax/_numerics.py",
        "tests/losses/test_binary_loss.py",
        faults={"jnp.where(is_weighted, samples, jax": "jnp.where(weights >= 0, samples, jax"},
    ),
    *faults_in(
        "nce_jax/_numerics.py",
        "tests/test_numerics.py",
        faults={
            "jax.nn.sigmoid(*primals) * tangents[0]": "jax.nn.sigmoid(-primals[0]) * tangents[0]"
        },
    ),
    *faults_in(
        "nce_jax/_numerics.py",
        "tests/diagnostics/test_standard_error.py",
        faults={
            "correction = 1 - jnp.sum(jnp.square(block_weights), axis=-1)": (
                "correction = 1 - 0 * jnp.sum(jnp.square(block_weights), axis=-1)"
            )
        },
    ),
    *faults_in(
        "nce_jax/losses/_binary.py",
        "tests/losses/test_binary_loss.py",
        faults={
            "softplus(sides.noise - sides.shift, offset)": "softplus(sides.noise, offset)",
            "softplus(offset - (sides.data - sides.shift))": "softplus(offset - sides.data)",
        },
    ),
    *faults_in(
        "nce_jax/losses/_exponential.py",
        "tests/losses/test_exponential_loss.py",
        faults={
            "return log_mean_noise - log_mean_data": "return log_mean_noise + log_mean_data",
            "jnp.exp((sides.noise - sides.shift) / 2)": "jnp.exp(sides.noise - sides.shift)",
        },
    ),
    *faults_in(
        "nce_jax/losses/_divergence.py",
        "tests/losses/test_divergence_losses.py",
        faults={
            "jnp.exp(2 * (sides.noise - shift))": "jnp.exp(sides.noise - shift)",
            "log_mean_exp(2 * sides.noise, sides.weights_noise)": (
                "2 * log_mean_exp(sides.noise, sides.weights_noise)"
            ),
        },
    ),
    *faults_in(
        "nce_jax/losses/_inference.py",
        "tests/losses/test_inference_losses.py",
        faults={"jnp.square(imbalance)": "jnp.abs(imbalance)"},
    ),
    *faults_in(
        "nce_jax/losses/_generator.py",
        "tests/losses/test_generator_loss.py",
        faults={
            "_non_saturating(u, expand(log_kappa))": "_non_saturating(u, 0 * expand(log_kappa))",
            "stop_where(is_empty | jnp.isnan(shift),": "stop_where(is_empty,",
        },
    ),
    *faults_in(
        "nce_jax/losses/_preference.py",
        "tests/losses/test_preference_losses.py",
        faults={
            "jnp.where(probability == 0, 0, probability * loss)": "probability * loss",
            "targets = targets if weights is None else targets * weights": "targets = 1 * targets",
            "rewards - largest) / expand(temperature)": "rewards - largest) * expand(temperature)",
            "answers.log_ratio - jax.lax.stop_gradient(": "answers.log_ratio - 0 * (",
        },
    ),
)

_SOLVERS = (
    *faults_in(
        "nce_jax/log_partition/evaluation.py",
        "tests/log_partition/test_hard_cases.py",
        # Counts that never agree to rounding: a gap is then decided by it.
        faults={"rounding = 4 * jnp.finfo": "rounding = 0 * jnp.finfo"},
    ),
    *faults_in(
        "nce_jax/log_partition/_attempt.py",
        "tests/log_partition/test_attempt.py",
        faults={
            # A data sample of -inf, which has no equation, is certified.
            "jnp.where(logits == jnp.inf, jnp.nan,": "jnp.where(logits == jnp.nan, jnp.nan,",
            "size**order / math.factorial(order)": "0.1 * size**order / math.factorial(order)",
            "    error += _ROUNDING * eps": "    error += 0 * eps",
            "equation.slope > smallest_slope(dtype)": "equation.slope > 0",
            "one - 3 * two + 2 * three": "one - 2 * two + 2 * three",
            "one - 7 * two + 12 * three": "one - 7 * two + 11 * three",
            "jnp.all(side.weights >= 0, axis=-1)": "jnp.any(side.weights >= 0, axis=-1)",
        },
    ),
    *faults_in(
        "nce_jax/log_partition/evaluation.py",
        "tests/log_partition/test_attempt.py",
        faults={"        size <= other_size,": "        size >= 0,"},
    ),
    *faults_in(
        "nce_jax/log_partition/evaluation.py",
        "tests/log_partition/test_certificates.py",
        faults={
            "0.5 * jnp.square(delta) * jnp.exp(delta)": "0.05 * jnp.square(delta)",
            "-jnp.log1p(-jnp.minimum(size, MAX_LINEAR))": "0.1 * jnp.minimum(size, MAX_LINEAR)",
        },
    ),
    *faults_in(
        "nce_jax/log_partition/equation.py",
        "tests/log_partition/test_hard_cases.py",
        faults={
            "log_overlap + jnp.log(sum(counts)) < 0": "log_overlap + jnp.log(sum(counts)) < -3"
        },
    ),
    *faults_in(
        "nce_jax/log_partition/equation.py",
        "tests/diagnostics/test_overlap.py",
        faults={"jnp.logaddexp(log_kappa, 0.0) - log_kappa": "jnp.logaddexp(log_kappa, 0.0)"},
    ),
    *faults_in(
        "nce_jax/log_partition/implicit.py",
        "tests/log_partition/test_derivatives.py",
        faults={
            "return moved - _weight_tangent(": "return moved + _weight_tangent(",
            "jnp.exp(log_kappa + log_mean_q - log_slope) - sample_part": (
                "jnp.exp(log_kappa + log_mean_q - log_slope)"
            ),
        },
    ),
    *faults_in(
        "nce_jax/log_partition/implicit.py",
        "tests/criteria/test_regularized.py",
        faults={"jnp.logaddexp(log_slope, jnp.log(pull.slope))": "log_slope"},
    ),
    *faults_in(
        "nce_jax/log_partition/_loop.py",
        "tests/log_partition/test_status.py",
        # One step too many.
        faults={"run.num_evaluations < max_steps": "run.num_evaluations <= max_steps"},
    ),
    *faults_in(
        "nce_jax/log_partition/_log_scale.py",
        "tests/log_partition/test_certificates.py",
        "tests/log_partition/test_hard_cases.py",
        faults={"jnp.log(jnp.maximum(-constant, 0))": "-jnp.inf"},
    ),
    *faults_in(
        "nce_jax/log_partition/_tolerance.py",
        "tests/log_partition/test_root.py",
        faults={"eps**0.75": "eps**0.5"},
    ),
    *faults_in(
        "nce_jax/criteria/_regularized.py",
        "tests/criteria/test_regularized.py",
        faults={
            "slope = 4 * as_scalar": "slope = 2 * as_scalar",
            "slope = first.slope + second.slope": "slope = first.slope",
        },
    ),
)

_DIAGNOSTICS = (
    *faults_in(
        "nce_jax/diagnostics/_bootstrap.py",
        "tests/diagnostics/test_bootstrap.py",
        faults={
            "jnp.std(values, axis=0, ddof=1)": "jnp.std(values, axis=0) / 2",
            "key_data, key_noise = jax.random.split(key)": "key_data = key_noise = key",
        },
    ),
    *faults_in(
        "nce_jax/diagnostics/_divergence.py",
        "tests/diagnostics/test_divergence.py",
        faults={"softplus(jnp.zeros_like(log_kappa), ": "softplus(jnp.ones_like(log_kappa), "},
    ),
    *faults_in(
        "nce_jax/diagnostics/_info_nce.py",
        "tests/diagnostics/test_info_nce.py",
        faults={"weighted_mean(log_candidates, weights)": "jnp.mean(log_candidates, axis=-1)"},
    ),
    *faults_in(
        "nce_jax/free_energy/_bar.py",
        "tests/free_energy/test_bar.py",
        faults={
            "variance_of(window, 1) * inefficiency + rounding": "variance_of(window, 1) + rounding"
        },
    ),
    *faults_in(
        "nce_jax/free_energy/_bar.py",
        "tests/diagnostics/test_intervals.py",
        faults={"effective_count(window, 1) / inefficiency": "effective_count(window, 1)"},
    ),
    *faults_in(
        "nce_jax/free_energy/_chain.py",
        "tests/free_energy/test_chain.py",
        faults={
            "of_states[1][..., :-1] * jnp": "of_states[0][..., :-1] * jnp",
            "expected, got = sizes[1][state - 1], sizes[0][state]": "expected = got = 0",
        },
    ),
    *faults_in(
        "nce_jax/free_energy/_redraw.py",
        "tests/free_energy/test_bootstrap_bar.py",
        faults={"num_starts = jnp.maximum(count - block_size, 0) + 1": "num_starts = count"},
    ),
    *faults_in(
        "nce_jax/free_energy/_bootstrap.py",
        "tests/free_energy/test_bootstrap_bar.py",
        faults={"draw_by_state if shared_samples else draw_separately": "draw_separately"},
    ),
    *faults_in(
        "nce_jax/free_energy/_time_series.py",
        "tests/free_energy/test_time_series.py",
        faults={
            "values - jax.lax.stop_gradient(values[..., :1])": "values",
            "& has_pairs & (lags": "& (lags",
        },
    ),
    *faults_in(
        "nce_jax/free_energy/_uncertainty.py",
        "tests/free_energy/test_mbar.py",
        faults={
            "total = moments + matmul(": "total = moments - matmul(",
            "links = transform - transform[parents]": "links = transform - transform[:1]",
        },
    ),
    *faults_in(
        "nce_jax/free_energy/_solve.py",
        "tests/free_energy/test_mbar.py",
        faults={"return root, -solve_laplacian(": "return root, solve_laplacian("},
    ),
    *faults_in(
        "nce_jax/free_energy/_start.py",
        "tests/free_energy/test_mbar.py",
        faults={"row(parent) - row(child)": "row(child) - row(parent)"},
    ),
    *faults_in(
        "nce_jax/free_energy/_consistency.py",
        "tests/free_energy/test_consistency.py",
        faults={
            "inefficiency=inefficiency[::-1]": "inefficiency=inefficiency",
            "np.abs(found.score) > MAX_SCORE": "found.score > MAX_SCORE",
            "np.where(is_converged, solved.delta_f, np.nan)": "np.asarray(solved.delta_f)",
        },
    ),
    *faults_in(
        "nce_jax/free_energy/_enthalpy.py",
        "tests/free_energy/test_enthalpy.py",
        faults={"return -averages.pool.inefficiency": "return averages.pool.inefficiency"},
    ),
    *faults_in(
        "nce_jax/_distributions.py",
        "tests/noise/test_other_libraries.py",
        faults={"is_inside | ~is_known, log_prob, -jnp.inf": "True, log_prob, -jnp.inf"},
    ),
    *faults_in(
        "nce_jax/training/_objective.py",
        "tests/training/test_optimizers.py",
        faults={"if treatment.is_profiled:": "if False:"},
    ),
    *faults_in(
        "nce_jax/sklearn/_estimator.py",
        "tests/sklearn/test_log_ratio_estimator.py",
        faults={
            "return log_ratio + data - reference": "return log_ratio - data + reference",
            "weights=side.weights)": "weights=None)",
            "= sets.reference.weights is not None": "= False",
            "0 if is_small else 1 - mean": "1 - mean",
        },
    ),
    *faults_in(
        "nce_jax/alchemlyb/_table.py",
        "tests/alchemlyb/test_estimators.py",
        faults={"/ _energy_of_kt(attrs)": "* _energy_of_kt(attrs)"},
    ),
    *faults_in(
        "nce_jax/alchemlyb/_bar.py",
        "tests/alchemlyb/test_estimators.py",
        faults={"np.sum(covariance[between, between])": "np.sum(np.diag(covariance)[between])"},
    ),
    *faults_in(
        "nce_jax/free_energy/_convergence.py",
        "tests/free_energy/test_convergence.py",
        faults={"rank > count - kept": "rank <= kept"},
    ),
    *faults_in(
        "nce_jax/likelihood/_transforms.py",
        "tests/likelihood/test_likelihood.py",
        faults={
            "math.log1p(-2 * alpha) - log_p - log_q": "-log_p - log_q",
            "jnp.minimum(spread, jnp.nextafter(levels + 1, levels))": "spread",
        },
    ),
)

_MAGNIFICATION = (
    *faults_in(
        "nce_jax/magnification/_adaptive_rule.py",
        "tests/magnification/test_adaptive.py",
        faults={
            # The variance of the running mean of what an M overlooks.
            "(1 - gain) ** 2, gain**2": "1 - gain, gain",
            "jnp.where(is_first, candidate, state.candidate + 1)": "candidate",
            "_SIGNIFICANCE * jnp.sqrt(state.overlooked_variance)": "0.0",
        },
    ),
    *faults_in(
        "nce_jax/magnification/_sufficient.py",
        "tests/magnification/test_sufficient.py",
        faults={
            "mean > _SIGNIFICANCE * jnp.sqrt(variance)": "mean > 0",
            "table.acceptance[0] / table.acceptance[candidate]": "jnp.ones_like(variance[0])",
            "_WINDOW_DIVISOR = 2.0": "_WINDOW_DIVISOR = 8.0",
        },
    ),
    *faults_in(
        "nce_jax/magnification/_windows.py",
        "tests/magnification/test_windows.py",
        faults={
            "decay**2 * windows.noise_square": "decay * windows.noise_square",
            "noise = jnp.where(is_solvable, jnp.clip(noise, 0, largest_noise), 0)": (
                "noise = jnp.where(is_solvable, noise, 0)"
            ),
        },
    ),
    *faults_in(
        "nce_jax/magnification/_candidates.py",
        "tests/magnification/test_candidates.py",
        faults={"MIN_EFFECTIVE = 10.0": "MIN_EFFECTIVE = 2.0"},
    ),
)

_TELESCOPING = (
    *faults_in(
        "nce_jax/_bridges.py",
        "tests/telescoping/test_bridges.py",
        "tests/telescoping/test_interface.py",
        faults={
            "return of_stages(x[:-1]), of_stages(x[1:])": (
                "return of_stages(x[1:]), of_stages(x[:-1])"
            )
        },
    ),
    *faults_in(
        "nce_jax/_levels.py",
        "tests/telescoping/test_bridges.py",
        "tests/telescoping/test_interface.py",
        faults={
            "signal = np.sqrt((1 - a) * (1 + a))": "signal = 1 - a",
            "signal = np.sqrt((1 - a)": "signal = np.sqrt((1 - np.float32(a))",
        },
    ),
    *faults_in(
        "nce_jax/telescoping/_influences.py",
        "tests/telescoping/test_errors.py",
        faults={
            "for total in totals)\n    return data + noise": "for total in totals)\n    return 0",
            "~has_gap & (number >= MIN_EFFECTIVE_SAMPLES)": "~has_gap",
        },
    ),
    *faults_in(
        "nce_jax/telescoping/_joint_influences.py",
        "tests/telescoping/test_joint_log_partitions.py",
        faults={
            "if shared_samples:": "if False:",
            "set(data).at[stages, stages + 1]": "set(data).at[stages, stages]",
        },
    ),
    *faults_in(
        "nce_jax/telescoping/_joint_log_partitions.py",
        "tests/telescoping/test_joint_log_partitions.py",
        faults={
            "jnp.where(stage >= bridge, log_ratios, 0), axis=0)": (
                "jnp.where(stage > bridge, log_ratios, 0), axis=0)"
            ),
            "(-of_total).at[0]": "of_total.at[0]",
        },
    ),
    *faults_in(
        "nce_jax/telescoping/_errors.py",
        "tests/telescoping/test_errors.py",
        faults={"influence - of_roots, number": "influence + of_roots, number"},
    ),
    *faults_in(
        "nce_jax/telescoping/_noise_levels.py",
        "tests/telescoping/test_noise_levels.py",
        faults={"np.exp(-(distances**2) / 8)": "np.exp(-(distances**2) / 4)"},
    ),
)

_NOISE = (
    *faults_in(
        "nce_jax/noise/_alias.py",
        "tests/noise/test_vocabulary_noise.py",
        faults={"remaining[alias] -= 1 - remaining[cell]": "remaining[alias] -= remaining[cell]"},
    ),
    *faults_in(
        "nce_jax/noise/_marginals.py",
        "tests/noise/test_marginals_noise.py",
        faults={"0.9 * spread * points.shape[0] ** -0.2": "0.9 * spread * points.shape[0] ** -0.5"},
    ),
    *faults_in(
        "nce_jax/noise/_vocabulary.py",
        "tests/noise/test_vocabulary_noise.py",
        faults={
            "wrap_negative_indices=False": "wrap_negative_indices=True",
            "jnp.minimum(ids, self._num_words - 1)": "ids + 1",
        },
    ),
)

_SAMPLERS = (
    *faults_in(
        "nce_jax/samplers/_annealing.py",
        "tests/samplers/test_context.py",
        faults={"sign * log_mean, jnp.nan": "log_mean, jnp.nan"},
    ),
    *faults_in(
        "nce_jax/samplers/_kernels.py",
        "tests/samplers/test_kernels.py",
        faults={"jnp.sqrt(2 * tau)": "jnp.sqrt(tau)"},
    ),
    *faults_in(
        "nce_jax/samplers/_chains.py",
        "tests/samplers/test_context.py",
        # Chains that are conditioned on one another's data.
        faults={
            "step(keys, tally.state, context)": (
                "step(keys, tally.state, jax.tree.map(lambda leaf: leaf[::-1], context))"
            )
        },
    ),
    *faults_in(
        "nce_jax/samplers/_annealing.py",
        "tests/samplers/test_context.py",
        # All data have the same moves.
        faults={"keys = jax.random.split(key, num_data)": "keys = jnp.repeat(key[None], num_data)"},
    ),
)

_DISTANCES = (
    *faults_in(
        "nce_jax/diagnostics/_frechet.py",
        "tests/diagnostics/test_sample_distances.py",
        faults={
            # The error vanishes where the sets are the same, or is too large there.
            "variance = max(first - second, second)": "variance = first - 2 * second",
            "influences = (\n        _influences(x, shift": (
                "influences = (\n        _influences(x, 0 * shift"
            ),
        },
    ),
    *faults_in(
        "nce_jax/diagnostics/_kernel_distance.py",
        "tests/diagnostics/test_sample_distances.py",
        faults={"return value, max(first - second, second)": "return value, first"},
    ),
    *faults_in(
        "nce_jax/samplers/_resample.py",
        "tests/samplers/test_resample.py",
        faults={
            'side="right"': 'side="left"',
            # Every sample comes from the first chunk.
            "is_here = chunk == index": "is_here = index == 0",
        },
    ),
)

_MODELS = (
    *faults_in(
        "nce_jax/models/_exponential_family.py",
        "tests/models/test_exponential_family.py",
        faults={"return log_density + as_module_values": "return log_density - as_module_values"},
    ),
    *faults_in(
        "nce_jax/models/_quadratic_head.py",
        "tests/models/test_quadratic_head.py",
        faults={"self.min_eigenvalue * jnp.sum(features**2": "0.0 * jnp.sum(features**2"},
    ),
)

NUMBERS: tuple[Fault, ...] = (
    *_LOSSES,
    *_SOLVERS,
    *_DIAGNOSTICS,
    *_MAGNIFICATION,
    *_TELESCOPING,
    *_NOISE,
    *_SAMPLERS,
    *_DISTANCES,
    *_MODELS,
)
"""Every one of them."""
