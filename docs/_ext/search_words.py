"""Words that readers search for, and the page that is to come first.

The search of Sphinx ranks an entry of the index above titles and text. The entries are added here
and not on the pages, where they would be seen on a site that shows Markdown without Sphinx.
"""

from sphinx import addnodes

WORDS = {
    "start": ("install", "installation"),
    "choosing": ("density ratio", "which loss"),
    "faq": ("nan", "out of memory", "oom", "troubleshooting"),
    "neural": ("checkpoint", "early stopping", "energy-based model", "resume"),
    "free_energies": ("free energy", "work values"),
    "contrastive": ("clip", "contrastive", "two towers"),
    "scaling": ("multi-host",),
    "how_to/own_model": ("custom model", "equinox", "haiku", "linen", "nnx", "own model"),
    "how_to/noise": ("flowjax", "numpyro", "tensorflow probability", "tfp"),
    "how_to/input_pipelines": ("data loader", "grain", "hugging face"),
    "how_to/logging": ("optuna", "tensorboard", "w&b", "wandb"),
    "migration/pymbar": ("pymbar",),
    "migration/alchemlyb": ("alchemlyb",),
    "migration/torchebm": ("torchebm",),
    "migration/scikit_learn": ("scikit-learn", "sklearn"),
    "gallery/covariate_shift": ("covariate shift", "importance weights", "pandas"),
}


def add_words(app, document):
    """Adds the words of a page as main entries, which the index of names does not list."""
    words = WORDS.get(app.env.docname, ())
    document += addnodes.index(entries=[("single", word, "", "main", None) for word in words])


def setup(app):
    app.connect("doctree-read", add_words)
    return {"parallel_read_safe": True}
