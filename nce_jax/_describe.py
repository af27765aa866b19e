"""What a value is, in a few words: the end of an error message."""

import inspect
from types import ModuleType
from typing import Any


def describe(value: Any, expected: type | None = None) -> str:
    """Says in a few words what a value is, for the "got ..." part of an error message.

    A function that can be called without arguments, or whose annotation says that it returns
    `expected`, is taken for a factory that was not called, and the text ends with the cure: "the
    function newton: call it".
    """
    if isinstance(value, type):
        return f"the class {value.__name__}{_call_it(value, expected)}"
    if isinstance(value, ModuleType):
        return f"the module {value.__name__}"
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return f"an array of shape {tuple(value.shape)} and dtype {value.dtype}"
    if value is None or value is ...:
        return str(value)
    kind = type(value).__name__
    if isinstance(value, bool | int | float | complex | str | bytes):
        return f"{kind} {value!r:.60}"
    if kind in ("list", "tuple", "dict", "set"):
        return f"{with_article(kind)} of length {len(value)}"
    if inspect.isroutine(value) or (callable(value) and hasattr(value, "__wrapped__")):
        return f"the function {value.__name__}{_call_it(value, expected)}"
    return with_article(kind) + (f" of shape {value.shape}" if hasattr(value, "shape") else "")


def _call_it(factory: Any, expected: type | None) -> str:
    """The cure for a factory that was not called; nothing for any other function or class."""
    try:
        signature = inspect.signature(factory)
    except (TypeError, ValueError):
        return ""
    returned = factory if isinstance(factory, type) else signature.return_annotation
    names = [kind.__name__ for kind in getattr(returned, "__mro__", ())] or [str(returned)]
    is_factory = expected is not None and expected.__name__ in names
    needs_nothing = all(
        parameter.default is not parameter.empty
        or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        for parameter in signature.parameters.values()
    )
    return ": call it" if is_factory or needs_nothing else ""


def with_article(word: str) -> str:
    """A word with its indefinite article."""
    return f"{'an' if word[:1].lower() in tuple('aeiou') else 'a'} {word}"
