"""Formulas as MathML, which browsers render by themselves, without a script and a network.

The conversion is docutils'. What it does not know is put in a form that it does; what is left is a
warning, and shown as it was written.
"""

import html
import re

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util import logging

FUNCTION = r"\\(?:(?:log|exp|cosh|max|min)(?![a-z])|operatorname\{\w+\})(?:_\w|_\{[^}]*\})?"
FORMS = [
    (r"\\[Bb]igg?[lrm]?(?![a-zA-Z])", ""),  # fences of MathML stretch without being told
    (r"^\s*\^", "{}^"),  # an exponent alone needs a base
    (r"\\([td]?frac)\s*(\d)\s*(\d)", r"\\\1{\2}{\3}"),
    (rf"({FUNCTION})\s*(?=[A-Za-z\\])(?!\\(?:left|,))", r"\1\\,"),
    (r"\\dots\b", r"\\ldots "),
    (r"\\textstyle\b", ""),
]


def convert(node: nodes.Element, as_block: bool) -> str:
    latex = re.sub(r"\n[ \t]*\n", "\n", node.astext())
    for pattern, replacement in FORMS:
        latex = re.sub(pattern, replacement, latex)
    if as_block and r"\\" in latex and r"\begin" not in latex:
        latex = rf"\begin{{aligned}}{latex}\end{{aligned}}"
    try:
        return tex2mathml(latex, as_block=as_block)
    except (MathError, IndexError) as error:
        logging.getLogger(__name__).warning("formula: %s: %s", error, latex, location=node)
        return f"<code>{html.escape(node.astext())}</code>"


def visit_inline(translator, node):
    translator.body.append(convert(node, as_block=False))
    raise nodes.SkipNode


def visit_block(translator, node):
    translator.body.append(f'<div class="math">{convert(node, as_block=True)}</div>')
    raise nodes.SkipNode


def setup(app):
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    app.config.html_math_renderer = "mathml"
    return {"parallel_read_safe": True}
