"""The averaged denoiser of DDPM for CIFAR-10 to npz. Ready to run, not run with the published file.

In an environment with PyTorch, in this repository's folder:

    python -m experiments.converters.ddpm model-790000.ckpt ddpm-cifar10.npz

`experiments.common.networks.weights.read_weights` reads the result. The file is pytorch_diffusion's
conversion of the original, from which DxMI starts as well.
"""

from experiments.common.endings import one_line
from experiments.converters.checkpoint import main

ADDRESS = "https://github.com/pesser/pytorch_diffusion, ema_cifar10"
MD5 = "1fa350b952534ae442b1d5235cce5cd3"

if __name__ == "__main__":
    with one_line():
        main("DDPM for CIFAR-10 to npz.", ADDRESS, MD5, "md5")
