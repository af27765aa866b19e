"""Sphinx settings.

Everything is built offline, and a warning is an error: see the targets `docs` and `docs-fast` of
the Makefile. Modules of `_ext` hold what Sphinx and its extensions do not do by themselves.
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")  # the pages say what two cores do
sys.path.insert(0, str(Path(__file__).parent / "_ext"))

import nce_jax

project = "nce_jax"
author = "The nce_jax authors"
version = release = nce_jax.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "docstrings",
    "gallery",
    "mathml",
    "references",
    "search_words",
]
exclude_patterns = ["examples", "_ext", "**/GALLERY_HEADER.rst"]

# Pages in Markdown.
myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

# The API, from docstrings.
autodoc_preserve_defaults = True
autosummary_generate = False  # the tables link to the pages of docs/api
default_role = "code"  # what docstrings put in single backticks
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # attributes of a NamedTuple are described by its docstring, once
napoleon_attr_annotations = (
    False  # shapes are in the text, and a star in an annotation is no markup
)
viewcode_line_numbers = True

# Names of other libraries are links only where their inventories can be had, over a network.
intersphinx_mapping = (
    {
        "python": ("https://docs.python.org/3", None),
        "numpy": ("https://numpy.org/doc/stable", None),
        "jax": ("https://docs.jax.dev/en/latest", None),
        "optax": ("https://optax.readthedocs.io/en/latest", None),
        "flax": ("https://flax.readthedocs.io/en/latest", None),
        "matplotlib": ("https://matplotlib.org/stable", None),
        "xarray": ("https://docs.xarray.dev/en/stable", None),
        "sklearn": ("https://scikit-learn.org/stable", None),
    }
    if os.environ.get("READTHEDOCS") or os.environ.get("NCE_JAX_INTERSPHINX")
    else {}
)

# Examples: scripts that run while the page is built, unless `-D plot_gallery=0`.
sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"\.py$",
    "within_subsection_order": "gallery.in_reading_order",
    "abort_on_example_error": True,
    "reset_modules": ("matplotlib", "gallery.restart_jax"),
    "doc_module": ("nce_jax",),
    "backreferences_dir": "gallery/uses",
    "image_scrapers": ("matplotlib",),
    "image_srcset": ["2x"],
    "thumbnail_size": (400, 280),
    "remove_config_comments": True,
    "show_memory": False,
    "min_reported_time": 0,
    "write_computation_times": False,  # their page loads scripts over a network
    "download_all_examples": False,
    "capture_repr": (),
}

html_theme = "furo"
html_title = f"nce_jax {release}"
html_copy_source = False
html_static_path = ["_static"]
html_css_files = ["style.css"]
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
copybutton_exclude = ".linenos, .gp, .go"
