"""Inception of published FID values to npz. Ready to run, not run: PyTorch is not installed here.

In an environment with PyTorch, in this repository's folder:

    python -m experiments.converters.inception pt_inception-2015-12-05-6726825d.pth inception.npz

`experiments.common.feature_weights.read_weights` reads the result. The names and shapes that it
expects follow from torchvision's Inception3 with 1,008 classes and without the auxiliary head, into
which pytorch-fid loads this file; they have not been compared with the file itself. Of its digest
the first eight digits are known, from its name.
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
