"""Every public name has a docstring and a place on the API page; a function has an example and its
source.
"""

import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import nce_jax

ROOT = Path(__file__).parents[1]
# Functions that compute something somebody published, as opposed to plumbing; they name their
# source.
ESTIMATORS = re.compile(
    r"loss|log_partition|overlap|effective_sample_size|standard_error|^bar$|divergence"
)


def public_modules() -> list[str]:
    """The package and every module in it whose name does not begin with an underscore."""
    submodules = pkgutil.iter_modules(nce_jax.__path__)
    return ["nce_jax", *(f"nce_jax.{m.name}" for m in submodules if not m.name.startswith("_"))]


def public_names() -> list[tuple[str, str]]:
    modules = {name: importlib.import_module(name) for name in public_modules()}
    return [(m, name) for m, module in modules.items() for name in getattr(module, "__all__", ())]


def documented() -> set[str]:
    """Full names with an autodoc directive on the API page."""
    page = "".join(path.read_text() for path in (ROOT / "docs" / "api").glob("*.md"))
    return set(
        re.findall(
            r"^\.\. (?:auto(?:function|class|exception|data|module)|py:data):: (\S+)",
            page,
            re.MULTILINE,
        )
    )


def is_own_function(value: object) -> bool:
    return callable(value) and not inspect.isclass(value) and not inspect.ismodule(value)


@pytest.mark.parametrize(("module", "name"), public_names())
def test_public_name_is_documented(module, name):
    value = getattr(importlib.import_module(module), name)
    if inspect.ismodule(value):
        assert value.__doc__
        return
    # A name handed on by two modules needs one entry.
    assert {f"{module}.{name}", f"nce_jax.{name}"} & documented(), (
        f"{module}.{name} is not on a page of docs/api"
    )
    if is_own_function(value) or inspect.isclass(value):
        assert inspect.getdoc(value), f"{module}.{name} has no docstring"
    if is_own_function(value):
        assert ">>>" in inspect.getdoc(value), f"{module}.{name} has no runnable example"
        if ESTIMATORS.search(name):
            assert "References" in inspect.getdoc(value), f"{module}.{name} names no source"


def test_the_api_page_names_nothing_else():
    known = {f"{module}.{name}" for module, name in public_names()} | set(public_modules())
    assert documented() <= known
