"""The signature rule: data, noise, then keywords of one fixed vocabulary with one default each."""

import inspect
from collections.abc import Callable

import nce_jax

EMPTY = inspect.Parameter.empty
ANY = object()

# Keyword -> the defaults it may have. A new keyword enters here, with the one meaning that it has
# everywhere.
VOCABULARY = {
    "log_partition": {0.0, None, EMPTY},
    "magnification": {1.0},
    "noise_ratio": {1.0, None},  # None: the number of sampled words, in the vocabulary losses
    "weights_data": {None},
    "weights_noise": {None},
    "solver": ANY,
    "initial": {None},
    "tolerance": {None},
    "max_steps": ANY,
    "fixed_steps": ANY,
    "block_size": ANY,
    "num_blocks": ANY,
    "num_replicates": ANY,
    "criterion": ANY,
    "log_ratio_contrast": {None},
    "gamma": {1.0},
    "strength": ANY,
}


def public_functions() -> dict[str, Callable]:
    """Functions among the public names, those wrapped by jax transformations included."""
    found = {name: getattr(nce_jax, name) for name in nce_jax.__all__}
    return {name: f for name, f in found.items() if callable(f) and not inspect.isclass(f)}


def takes(name: str) -> dict[str, list[inspect.Parameter]]:
    """Parameters of every public function that has one of this name."""
    signatures = {
        f: inspect.signature(function).parameters for f, function in public_functions().items()
    }
    return {
        f: list(parameters.values()) for f, parameters in signatures.items() if name in parameters
    }


def test_the_rule_has_something_to_hold():
    assert {"nce_loss", "solve_log_partition"} <= takes("log_ratio_data").keys()


def test_data_first_noise_second_then_keywords_only():
    wrong = {}
    for name, parameters in takes("log_ratio_data").items():
        positional = [p.name for p in parameters if p.kind is not inspect.Parameter.KEYWORD_ONLY]
        key = ["key"] if "key" in [p.name for p in parameters] else []
        if positional != [*key, "log_ratio_data", "log_ratio_noise"]:
            wrong[name] = positional
    assert wrong == {}


def test_keywords_are_of_the_vocabulary():
    wrong = {}
    for name, parameters in takes("log_ratio_data").items():
        keywords = {p.name for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}
        if unknown := keywords - VOCABULARY.keys():
            wrong[name] = unknown
    assert wrong == {}


def test_one_keyword_has_one_default():
    wrong = {}
    for word, allowed in VOCABULARY.items():
        for name, parameters in takes(word).items():
            default = next(p.default for p in parameters if p.name == word)
            if allowed is not ANY and default not in allowed:
                wrong[name, word] = default
    assert wrong == {}


def test_key_comes_first():
    assert [name for name, parameters in takes("key").items() if parameters[0].name != "key"] == []
