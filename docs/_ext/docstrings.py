"""Docstrings and signatures as autodoc shows them."""

import ast
import inspect
import re
import textwrap


def escape_markup(app, what, name, obj, options, lines):
    """Keeps the prose of docstrings plain text: a star is a product, a bar an absolute value.

    Doctests and the bodies of math directives are left as they are.
    """
    in_doctest, math_indent = False, None
    for index, line in enumerate(lines):
        indent = len(line) - len(line.lstrip())
        in_doctest = bool(line.strip()) and (in_doctest or line.lstrip().startswith(">>>"))
        if line.strip() and math_indent is not None and indent <= math_indent:
            math_indent = None
        if line.lstrip().startswith(".. math::"):
            math_indent = indent
        if not in_doctest and math_indent is None:
            prose_and_code = line.split("`")
            prose_and_code[::2] = [
                re.sub(r"[*|]|_(?!\w)", r"\\\g<0>", prose) for prose in prose_and_code[::2]
            ]
            lines[index] = "`".join(prose_and_code)


def list_references(app, what, name, obj, options, lines):
    """Makes a list of the entries below References, whose hanging indents docutils refuses."""
    heading = entry = None
    for index, line in enumerate(lines):
        indent = len(line) - len(line.lstrip())
        if line.strip() == "References:":
            heading, entry = indent, None
        elif heading is not None and line.strip():
            entry = indent if entry is None else entry
            if indent <= heading:
                heading = None
            elif indent == entry:
                lines[index] = f"{line[:indent]}- {line[indent:]}"


def signature_as_written(app, what, name, obj, options, signature, returns):
    """Annotations as the source has them: `LogRatios`, and not what that alias stands for."""
    if what == "function":
        try:
            source = textwrap.dedent(inspect.getsource(inspect.unwrap(obj)))
        except (OSError, TypeError):
            return None
        (definition,) = ast.parse(source).body
        if isinstance(definition, ast.FunctionDef):
            returned = definition.returns and ast.unparse(definition.returns)
            return f"({ast.unparse(definition.args)})", returned
    return None


def setup(app):
    app.connect("autodoc-process-docstring", escape_markup, priority=400)  # before napoleon, at 500
    app.connect("autodoc-process-docstring", list_references, priority=450)  # stars are escaped
    app.connect("autodoc-process-signature", signature_as_written)
    return {"parallel_read_safe": True}
