"""The signature rules, over every public function of every public module, found by iteration.

Data come before noise, a key comes first, one keyword has one default wherever it occurs, functions
of log ratios take their options as keywords of one vocabulary, and everything is annotated.
"""

import importlib
import inspect
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.test_public_docs import public_names

EMPTY = inspect.Parameter.empty
FIRST_ARGUMENTS = re.compile(
    r"(log_ratio|log_density|score_|work|loss_terms|log_weights)(?!.*_fn$)"
)

# The options of functions of log ratios. A new one enters here, with one meaning for all of them.
VOCABULARY = {
    "block_size",  # consecutive samples per block of a standard error
    "gamma",  # prior odds of NRE-C
    "form",  # of the loss of a generator
    "fixed_steps",  # evaluations without a data-dependent stop
    "initial",  # F where a solve starts
    "log_backward",  # log of the transition kernel of conditional NCE, and
    "log_forward",  # its reverse
    "log_partition",  # F
    "log_partition_standard_error",  # its standard error
    "log_ratio_contrast",  # log ratios of the second set of NRE-C
    "magnification",  # M
    "max_steps",  # evaluations that a solve may take
    "noise_ratio",  # nu
    "num_fractions",  # parts of the samples
    "num_replicates",  # of a bootstrap
    "preference",  # probability that the chosen answer is the preferred one
    "shared_samples",  # whether neighboring windows have configurations in common
    "solver",  # a Solver
    "statistical_inefficiency",  # correlated samples per independent one
    "strength",  # of a penalty
    "temperature",  # of the rewards
    "tolerance",  # admissible error of F
    "weights",  # of anchors
    "weights_data",  # of the data samples
    "weights_forward",  # of the forward work values
    "weights_noise",  # of the noise samples
    "weights_reverse",  # of the reverse work values
}

# Keywords with more than one default, and the reason.
SEVERAL_DEFAULTS = {
    "form": "the published forms of a loss, of which each loss has its own",
    "accidental_hits": "NCE is right with them, a sampled softmax without",
    "batch_size": "the size of a usual problem differs between fits; None is the whole data set",
    "bias": "no bias per word, and a bias of zero of the classifier",
    "block_size": "a standard error takes samples one by one, None forms no groups of them",
    "chunk_size": "a report over a whole vocabulary is always made in blocks",
    "evaluate_every": "a flow needs evaluations to choose by, `fit` has none of its own",
    "held_out": "a report on held-out data needs more of them than a choice of the step",
    "hidden": "the size of a usual network differs between a flow and an energy",
    "log_partition": "zero is the F of a normalized model, None solves for F",
    "noise_ratio": "None is the number of noise words per target",
    "num_levels": "one level stands for continuous data, 256 for images",
    "num_steps": "the length of a usual run differs between fits and samplers",
    "std": "that of each toy's publication",
}

# Other packages' words for what has a name here.
SYNONYMS = {
    "chunk": "chunk_size",
    "eps": "tolerance",
    "is_verbose": "progress",
    "iterations": "num_steps",
    "kappa": "magnification and noise_ratio",
    "log_z": "log_partition",
    "lr": "learning_rate",
    "max_iter": "max_steps",
    "n_samples": "num_samples",
    "num_iterations": "num_steps",
    "num_samples_noise": "num_noise",
    "rng": "key",
    "rng_key": "key",
    "sample_weight": "weights",
    "seed": "key",
    "tol": "tolerance",
    "verbose": "progress",
    "x_samples": "x_data",
}


def public_functions() -> dict[str, Callable[..., Any]]:
    """By full name; functions wrapped by transformations included, classes left out."""
    values = {
        f"{module}.{name}": getattr(importlib.import_module(module), name)
        for module, name in public_names()
    }
    return {
        name: value
        for name, value in values.items()
        if callable(value) and not inspect.isclass(value) and not inspect.ismodule(value)
    }


def public_methods() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Methods without an underscore, and calls, of public classes that are defined here."""
    for module, name in public_names():
        value = getattr(importlib.import_module(module), name)
        if not inspect.isclass(value):
            continue
        for attribute, method in vars(value).items():
            is_public = attribute == "__call__" or not attribute.startswith("_")
            is_own = str(getattr(method, "__module__", "")).startswith("nce_jax")
            if is_public and is_own and inspect.isfunction(method):
                yield f"{module}.{name}.{attribute}", method


FUNCTIONS = public_functions()
PARAMETERS = {
    name: list(inspect.signature(function).parameters.values())
    for name, function in FUNCTIONS.items()
}


def with_parameter(*wanted: str) -> dict[str, list[inspect.Parameter]]:
    """Parameters of the functions that have all of these."""
    return {
        name: parameters
        for name, parameters in PARAMETERS.items()
        if set(wanted) <= {parameter.name for parameter in parameters}
    }


def takes_log_ratios(name: str) -> bool:
    """Whether the first argument, but for a key, is an array of log ratios or log densities.

    Plots and checks of work are left out: they read the values on the host.
    """
    if name.startswith("nce_jax.plots.") or name.rpartition(".")[2] in ("check_work", "work_slope"):
        return False
    names = [parameter.name for parameter in PARAMETERS[name] if parameter.name != "key"]
    return bool(names) and FIRST_ARGUMENTS.match(names[0]) is not None


LOG_RATIO_FUNCTIONS = sorted(name for name in FUNCTIONS if takes_log_ratios(name))


def test_the_rules_have_something_to_hold():
    modules = {name.rpartition(".")[0] for name in FUNCTIONS}
    expected = {"nce_jax", "nce_jax.training", "nce_jax.noise", "nce_jax.log_partition"}
    assert expected <= modules
    assert len(FUNCTIONS) > 120
    expected = {"nce_jax.losses.nce_loss", "nce_jax.bar", "nce_jax.telescoping.mean_log_ratio"}
    assert expected <= set(LOG_RATIO_FUNCTIONS)
    assert len(LOG_RATIO_FUNCTIONS) > 30


def test_data_come_before_noise():
    """`x_data` stands right before `x_noise`, and so does every other pair of that form."""
    wrong = {}
    for name, parameters in PARAMETERS.items():
        names = [parameter.name for parameter in parameters]
        for data, noise in ((n, n.replace("_data", "_noise")) for n in names if "_data" in n):
            if noise in names and names.index(noise) != names.index(data) + 1:
                wrong[name] = names
    assert wrong == {}


def test_a_key_comes_first_but_for_a_training_loop():
    """`fit(step, state, batches, key)` follows the train step, `train(state, batch, key)`."""
    late = {name for name, p in with_parameter("key").items() if p[0].name != "key"}
    assert late == {"nce_jax.training.fit"}
    assert [p.name for p in PARAMETERS["nce_jax.training.fit"]][:4] == [
        "step",
        "state",
        "batches",
        "key",
    ]
    methods = dict(public_methods())
    call = inspect.signature(methods["nce_jax.training.TrainStep.__call__"])
    assert list(call.parameters) == ["self", "state", "batch", "key"]


@pytest.mark.parametrize("name", sorted(with_parameter("log_ratio_data", "log_ratio_noise")))
def test_a_function_of_log_ratios_takes_them_first_and_keywords_only_after(name):
    parameters = PARAMETERS[name]
    positional = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    expected = ["log_ratio_data", "log_ratio_noise"]
    before = {
        "nce_jax.telescoping.mean_log_ratio": ["log_ratio"],
        "nce_jax.log_partition.make_problem": [],
    }.get(name, ["key"] if parameters[0].name == "key" else [])
    if name == "nce_jax.log_partition.make_problem":  # called with all six in order
        expected += ["weights_data", "weights_noise", "magnification", "noise_ratio"]
    assert positional == before + expected


def test_options_of_log_ratio_functions_are_of_the_vocabulary():
    words = {
        (parameter.name, name)
        for name in LOG_RATIO_FUNCTIONS
        for parameter in PARAMETERS[name]
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    assert {pair for pair in words if pair[0] not in VOCABULARY} == set()
    assert VOCABULARY - {word for word, _ in words} == set(), "stale entries"


def test_one_keyword_has_one_default():
    """Where it has one at all; exceptions are listed with their reasons."""
    defaults = defaultdict(lambda: defaultdict(list))
    for name, parameters in PARAMETERS.items():
        for parameter in parameters:
            if parameter.kind is parameter.KEYWORD_ONLY and parameter.default is not EMPTY:
                text = re.sub(r" at 0x[0-9a-f]+", "", repr(parameter.default))
                defaults[parameter.name][text].append(name)
    several = {word: dict(values) for word, values in defaults.items() if len(values) > 1}
    assert {word: several[word] for word in several.keys() - SEVERAL_DEFAULTS.keys()} == {}
    assert SEVERAL_DEFAULTS.keys() - several.keys() == set(), "stale entries"


def test_nothing_goes_by_the_name_of_another_package():
    wrong = {
        name: f"{parameter.name}: {SYNONYMS[parameter.name]}"
        for name, parameters in PARAMETERS.items()
        for parameter in parameters
        if parameter.name in SYNONYMS
    }
    assert wrong == {}


def test_counts_begin_with_num():
    """An argument that is annotated as an integer and counts something says so in its name."""
    prefixes = ("num_", "max_", "min_", "process_")
    suffixes = ("_size", "_every", "_steps", "dim", "width", "patience", "keep", "_limit", "alpha")
    # The number of one step, a factor (draws per sample), and the index of a state.
    others = ("step", "oversampling", "target_state")
    wrong = {
        (name, parameter.name)
        for name, parameters in PARAMETERS.items()
        for parameter in parameters
        if parameter.annotation in (int, int | None)
        and not parameter.name.startswith(prefixes)
        and not parameter.name.endswith(suffixes)
        and parameter.name not in others
    }
    assert wrong == set()


@pytest.mark.parametrize("name", sorted({**FUNCTIONS, **dict(public_methods())}))
def test_public_signatures_are_annotated(name):
    function = {**FUNCTIONS, **dict(public_methods())}[name]
    signature = inspect.signature(function)
    bare = [
        parameter.name
        for parameter in signature.parameters.values()
        if parameter.annotation is EMPTY and parameter.name != "self"
    ]
    assert bare == [], name
    assert signature.return_annotation is not EMPTY, name
