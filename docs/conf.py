"""Sphinx settings.

Everything is built offline, and a warning is an error: see the target `docs` of the Makefile.
"""

import re

import nce_jax

project = "nce_jax"
author = "The nce_jax authors"
version = release = nce_jax.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax"]
myst_enable_extensions = ["amsmath", "dollarmath"]
myst_heading_anchors = 3

autodoc_preserve_defaults = True
default_role = "code"  # what docstrings put in single backticks
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # attributes of a NamedTuple are described by its docstring, once
napoleon_attr_annotations = (
    False  # shapes are in the text, and a star in an annotation is no markup
)

html_theme = "furo"
html_title = f"nce_jax {release}"
html_copy_source = False


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


def offer_files_outside(app, docname, source):
    """Turns links to Markdown files outside docs, which work in the repository, into downloads."""
    source[0] = re.sub(r"\[([^]]+)\]\((\.\./[^)#]+\.md)\)", r"{download}`\1 <\2>`", source[0])


def setup(app):
    app.connect("autodoc-process-docstring", escape_markup, priority=400)  # before napoleon, at 500
    app.connect("autodoc-process-docstring", list_references, priority=450)  # stars are escaped
    app.connect("source-read", offer_files_outside)
