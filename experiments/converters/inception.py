"""Inception of published FID values to npz. Ready to run, not run with the published file.

In an environment with PyTorch, in this repository's folder:

    python -m experiments.converters.inception pt_inception-2015-12-05-6726825d.pth inception.npz

`experiments.common.networks.weights.read_weights` reads the result. With random weights the
features of `experiments.common.networks.inception` are those of pytorch-fid's network to 1e-5. Of
the file's digest the first eight digits are known, from its name.
"""

from experiments.common.endings import one_line
from experiments.converters.checkpoint import main

ADDRESS = (
    "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
    "pt_inception-2015-12-05-6726825d.pth"
)
SHA256 = "6726825d"

if __name__ == "__main__":
    with one_line():
        main("Inception (2015-12-05) to npz.", ADDRESS, SHA256)
