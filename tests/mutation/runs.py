"""Deliberate faults in calls, checks, runs and files."""

from tests.mutation.fault import Fault, faults_in

_EAGER = (
    *faults_in(
        "nce_jax/_eager.py",
        "tests/test_eager.py",
        faults={
            "index < inputs.counts[side.weights]": "index <= inputs.counts[side.weights]",
            # Float64 samples that are rounded before they are differenced.
            "= values[side.values] - shift": "= values[side.values].astype(dtype) - shift",
            "shift = side.sign * (split.given": "shift = (split.given",
        },
    ),
    *faults_in(
        "nce_jax/_padding.py",
        "tests/test_eager.py",
        # The weights of the padding become ones.
        faults={
            "padded[..., array.shape[-1] :] = fill": "padded[..., array.shape[-1] :] = fill + 1"
        },
    ),
    *faults_in(
        "nce_jax/_offset.py",
        "tests/test_eager.py",
        faults={
            "_FRACTION_OF_ERROR = 0.1": "_FRACTION_OF_ERROR = 100.0",
            "/ len(typical) - given, dtype": "/ len(typical), dtype",
        },
    ),
    *faults_in(
        "nce_jax/log_partition/interval.py",
        "tests/diagnostics/test_intervals.py",
        faults={
            "~(effective_samples >= MIN_EFFECTIVE_SAMPLES)": "(effective_samples < 0)",
            # A solve that failed has an interval, too.
            "is_low = (status == Status.CONVERGED) &": "is_low = (status != Status.MAX_STEPS) &",
            "MIN_EFFECTIVE_SAMPLES = 10.0": "MIN_EFFECTIVE_SAMPLES = 3.0",
        },
    ),
)

_OPTIONS = (
    *faults_in(
        "nce_jax/_options.py",
        "tests/test_options.py",
        faults={
            "if not isinstance(value, bool | np.bool_):": "if isinstance(value, str):",
            "if not is_valid(value):": "if False:",
            "signature.bind(*[None] * num_arguments)": "pass",
        },
    ),
    *faults_in(
        "nce_jax/_contracts.py",
        "tests/test_options.py",
        faults={"if is_other or not isinstance(leaf, kinds):": "if is_other:"},
    ),
    *faults_in(
        "nce_jax/log_partition/problem.py",
        "tests/log_partition/test_bad_input.py",
        faults={"jnp.shape(problem.data.values)[:-1])": "jnp.shape(value))"},
    ),
)

_TRAINING = (
    *faults_in(
        "nce_jax/sweeps/_load.py",
        "tests/sweeps/test_load.py",
        faults={
            "is_missing = missing if missing.any() else None": "is_missing = None",
            "if not absent and not damaged:": "if not damaged:",
        },
    ),
    *faults_in(
        "nce_jax/training/_callbacks.py",
        "tests/training/test_callbacks.py",
        faults={
            # A stopped run goes on when it is taken up again.
            "[-1:] == [True]": "[-1:] == [None]",
            "self.best, self.best_step, self.num_waited = math.nan, 0, 0": "pass",
        },
    ),
    *faults_in(
        "nce_jax/training/_average.py",
        "tests/training/test_average.py",
        faults={
            "ParamsAverage(average, mix(before.weight, 1))": "ParamsAverage(average, 1)",
            "jnp.promote_types(jnp.result_type(leaf), jnp.float32)": "jnp.result_type(leaf)",
        },
    ),
    *faults_in(
        "nce_jax/training/_treatments.py",
        "tests/training/test_step.py",
        "tests/training/test_fixed_steps.py",
        faults={
            "params_wait=is_short": "params_wait=None",
            "log_partition if warm_start else None": "None",
        },
    ),
    *faults_in(
        "nce_jax/training/_batches.py",
        "tests/training/test_fit.py",
        "tests/training/test_resume.py",
        faults={
            "[*self._seed, number]": "[*self._seed]",
            "while self._position < step:": "while self._position < step - 1:",
        },
    ),
    *faults_in(
        "nce_jax/training/_momentum.py",
        "tests/training/test_momentum.py",
        faults={"ratio / (1 - ratio) * leaves[-1]": "ratio * leaves[-1]"},
    ),
    *faults_in(
        "nce_jax/training/_rows.py",
        "tests/training/test_rows.py",
        faults={
            "jnp.where((flat < 0) | (flat >= num_rows), num_rows, flat)": (
                "jnp.clip(flat, 0, num_rows - 1)"
            )
        },
    ),
)

_WRONG_OBJECTS = (
    *faults_in(
        "nce_jax/training/_composition.py",
        "tests/training/test_wrong_objects.py",
        faults={
            "if tree_shapes(getattr(state, name)) != tree_shapes(": (
                "if False and tree_shapes(getattr(state, name)) != tree_shapes("
            ),
            "if jnp.shape(loss) != shape:": "if False:",
        },
    ),
    *faults_in(
        "nce_jax/training/_composition.py",
        "tests/magnification/test_adaptive.py::test_what_cannot_adapt_is_refused_by_name",
        faults={
            "if criterion.at_magnification is None:": "if False:",
            "if not treatment.is_profiled:": "if False:",
        },
    ),
    *faults_in(
        "nce_jax/training/_sides.py",
        "tests/training/test_wrong_objects.py",
        # Noise samples of the batch that are of another shape than the noise.
        faults={'in ("x_data", "x_noise") if batch': 'in ("x_data", "x_data") if batch'},
    ),
    *faults_in(
        "nce_jax/training/_batches.py",
        "tests/training/test_fit.py",
        faults={"if weights is not None and sizes[side] is not None and": "if False and"},
    ),
)

_RATIOS = (
    *faults_in(
        "nce_jax/_grouped.py",
        "tests/ratio_estimation/test_simple_models.py",
        faults={
            # Rows instead of groups.
            "_, numbers = np.unique(group, return_inverse=True)": "numbers = np.arange(len(group))",
            "* count / max(count - 1, 1)": "* 1.0",
        },
    ),
    *faults_in(
        "nce_jax/ratio_estimation/_assessment.py",
        "tests/ratio_estimation/test_estimate.py",
        faults={
            # As many effective samples as rows.
            "_effective_number(np.bincount(members, of_root))": "_effective_number(of_root)",
            # The mean without the influence of the samples that it is of.
            "+= shares[0] * (sides[0]": "+= 0 * (sides[0]",
            "return kish(weights * np.exp(": "return kish(np.exp(",
        },
    ),
    *faults_in(
        "nce_jax/ratio_estimation/_cross_validation.py",
        "tests/ratio_estimation/test_simple_models.py",
        faults={
            # Halves that lack a set are fitted.
            "rows[pool.is_data].any() and rows[~pool.is_data].any()": "rows.any()"
        },
    ),
    *faults_in(
        "nce_jax/ratio_estimation/_models.py",
        "tests/ratio_estimation/test_descent.py",
        "tests/ratio_estimation/test_groups.py",
        faults={
            # The samples that assess choose the step, too.
            "select = [(side.fold == 1) &": "select = [(side.fold == 0) &",
            # A half of them assesses the parameters that it has chosen.
            "choice[3 - half]": "choice[half]",
        },
    ),
    *faults_in(
        "nce_jax/ratio_estimation/_descent.py",
        "tests/ratio_estimation/test_weights.py",
        # Weights choose and assess, and do not train.
        faults={', **parts.weights["train"]': ""},
    ),
    *faults_in(
        "nce_jax/ratio_estimation/_features.py",
        "tests/ratio_estimation/test_weights.py",
        faults={"mean, spread = moments(x, weights)": "mean, spread = moments(x, None)"},
    ),
    *faults_in(
        "nce_jax/ratio_estimation/_information/_copula.py",
        "tests/ratio_estimation/test_mutual_information.py",
        # An iteration whose fixed point is another one.
        faults={"weights / weights.sum()": "weights / len(w)"},
    ),
    *faults_in(
        "nce_jax/ratio_estimation/_information/_split.py",
        "tests/ratio_estimation/test_mutual_information.py",
        faults={
            # Shuffled pairs that are joint ones.
            "shifts = tuple(1 + place": "shifts = tuple(0 + place",
            "- of_x - of_y) / slope": "+ of_x + of_y) / slope",
        },
    ),
    *faults_in(
        "nce_jax/ratio_estimation/_information/_candidates.py",
        "tests/ratio_estimation/test_mutual_information.py",
        faults={"is_discrete or count < _ENOUGH_PER_COORDINATE * dim": "is_discrete"},
    ),
    *faults_in(
        "nce_jax/ratio_estimation/_information/_estimate.py",
        "tests/ratio_estimation/test_mutual_information.py",
        # The values of a constant column have no ranks.
        faults={"(side[:, (side != side[:1]).any(axis=0)] for side": "(side for side"},
    ),
)

_FILES = (
    *faults_in(
        "nce_jax/training/_stored.py",
        "tests/training/test_resume.py",
        faults={
            # A checkpoint under another step's name.
            'if record["step"] != self.step:': 'if record["step"] < 0:',
            # A record that was changed, and a file that was, at the same size.
            "if digest != _digest_or_none(record):": "if digest is None:",
            "size and sha256(path) == digest": "size",
            # A file that is not of the checkpoint.
            "for name in present if name not in expected]": "for name in present if not expected]",
        },
    ),
    *faults_in(
        "nce_jax/sweeps/_chunk_files.py",
        "tests/sweeps/test_store.py",
        faults={
            # Chunks that were exchanged with their seals.
            'if _record(arrays, path) != {"chunk": number, **record}:': (
                "if not _record(arrays, path):"
            ),
            # A chunk that is not the one of its seal, and an index that was changed.
            "!= [digest, path.name.encode()]": "== []",
            'if manifest.pop("sha256", None) != sha256_of_json(manifest):': (
                'if manifest.pop("sha256", None) is None:'
            ),
        },
    ),
    *faults_in(
        "nce_jax/_archives.py",
        "tests/test_archives.py",
        # An archive that hides members.
        faults={"entries != count or start": "start"},
    ),
    *faults_in(
        "nce_jax/_disk.py",
        "tests/test_disk.py",
        faults={
            # A lock that two hold, one that a worker keeps, and one of a file that was removed.
            "fcntl.LOCK_EX | fcntl.LOCK_NB": "fcntl.LOCK_SH | fcntl.LOCK_NB",
            "after_in_child=_close_copies": "after_in_child=lambda: None",
            "if not os.path.exists(self._path) or not os.path.samestat(": (
                "if False and not os.path.samestat("
            ),
        },
    ),
    *faults_in(
        "experiments/common/check.py",
        "tests/experiments/test_check.py",
        "tests/experiments/test_headline_numbers.py",
        # A number that came out too small.
        faults={"abs(number - value) <= tolerance": "number - value <= tolerance"},
    ),
    *faults_in(
        "experiments/common/published.py",
        "tests/experiments/test_mnist_images.py",
        # A download without a limit.
        faults={"_fetch(url, file.num_bytes)": "_fetch(url, 2**60)"},
    ),
)

_SWEEPS = (
    *faults_in(
        "nce_jax/sweeps/_mean.py",
        "tests/sweeps/test_failed.py",
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

_CRITICS = (
    *faults_in(
        "nce_jax/critics/_two_player_step.py",
        "tests/critics/test_two_player_step.py",
        faults={
            "return weight * judged + own, own": "return weight * judged - own, own",
            # The M of the rule, and the key of each critic step, are lost.
            "criterion.at_magnification(magnification)": "criterion.at_magnification(1.0)",
            "jax.random.split(jax.random.fold_in(key, critic.step), 4)": "jax.random.split(key, 4)",
            "(seen), part.weights_data, weights)": "(seen), part.weights_data, None)",
        },
    ),
    *faults_in(
        "nce_jax/critics/_gradient_penalty.py",
        "tests/critics/test_gradient_penalty.py",
        faults={
            "(_root(squares) - target_norm)": "(_root(squares) + target_norm)",
            "(1 - place) * samples": "place * samples",
        },
    ),
    *faults_in(
        "nce_jax/training/_penalty.py",
        "tests/training/test_critic_step.py",
        faults={"leaf + more.astype(leaf.dtype)": "leaf - more.astype(leaf.dtype)"},
    ),
    *faults_in(
        "nce_jax/training/_sides.py",
        "tests/training/test_critic_step.py",
        # The weights of the first image go to the first places of all.
        faults={
            "jnp.repeat(given, count // given.shape[-1], axis=-1)": (
                "jnp.tile(given, count // given.shape[-1])"
            )
        },
    ),
)

RUNS: tuple[Fault, ...] = (
    *_EAGER,
    *_OPTIONS,
    *_TRAINING,
    *_WRONG_OBJECTS,
    *_RATIOS,
    *_FILES,
    *_SWEEPS,
    *_CRITICS,
)
"""Every one of them."""
