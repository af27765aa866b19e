"""Denoisers of EDM, and one-step generators of SiD, to npz.

The files are pickles that contain source code. Nothing of it runs here: whatever is not a tensor or
a plain container is read as an inert object. In an environment with PyTorch, in this repository's
folder:

    python -m experiments.converters.edm edm-cifar10-32x32-uncond-vp.pkl edm-cifar10.npz

With `--origin`, a clone of the original repository, its network is run with these arrays on two
images of noise; the reader then compares our network's output with that.
`experiments.common.networks.weights.read_weights` reads the result. Ready to run: it was run with
pickles of the original code's networks with random weights, not with the published files.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

from experiments.common.endings import CommandError, one_line
from experiments.common.networks import edm_blocks
from experiments.common.networks.shapes import CHECK
from experiments.converters import checkpoint, inert

ADDRESS = "https://nvlabs-fi-cdn.nvidia.com/edm/pretrained"
PREFIX = "model."
NETWORKS = sorted(name for name in edm_blocks.SETTINGS if name.startswith("edm-"))
"""Not OpenAI's, of which the arrays have the same names and shapes, and another meaning."""


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description="A denoiser of EDM to npz.")
    parser.add_argument("checkpoint", type=Path, help=f"the published pickle, such as of {ADDRESS}")
    parser.add_argument("output", type=Path, help="the npz file to write")
    parser.add_argument("--network", choices=NETWORKS, default="edm-cifar10")
    parser.add_argument("--origin", type=Path, help="a clone of https://github.com/NVlabs/edm")
    arguments = parser.parse_args()
    settings = edm_blocks.SETTINGS[arguments.network]
    tensors = read_network(arguments.checkpoint)
    check(arguments.checkpoint, settings, tensors)
    arrays = {name: value.detach().float().numpy() for name, value in tensors.items()}
    if arguments.origin is not None:
        arrays |= forward_pass(arguments.origin, settings, tensors)
    checkpoint.write(arguments.output, arrays)
    print(f"{arguments.output}: {len(arrays)} arrays")


def read_network(path: Path) -> dict[str, Any]:
    """Tensors of the averaged network by name, without the filters that resample."""
    if not path.is_file():
        raise CommandError(f"{path}: expected a file of {ADDRESS}, got no plain file")
    content = inert.load(path)
    if not isinstance(content, dict) or "ema" not in content:
        raise CommandError(f"{path}: expected a pickled dictionary with a network 'ema'")
    try:
        tensors = inert.tensors(content["ema"])
    except CommandError as error:
        raise CommandError(f"{path}, {error}") from error
    return {
        name.removeprefix(PREFIX): value
        for name, value in tensors.items()
        if not name.endswith("resample_filter")
    }


def check(path: Path, settings: edm_blocks.Settings, tensors: dict[str, Any]) -> None:
    """Raises CommandError unless the tensors are those of the network."""
    checkpoint.check_shapes(path, edm_blocks.shapes(settings), tensors, "see --network")


def forward_pass(origin: Path, settings: edm_blocks.Settings, tensors: dict) -> dict[str, Any]:
    """Inputs and output of the original network."""
    if not (origin / "training/networks.py").is_file():
        raise CommandError(f"--origin: expected a clone of NVlabs/edm, got {origin}")
    torch = inert.import_torch()
    sys.path.insert(0, str(origin))
    from training.networks import EDMPrecond

    network = EDMPrecond(
        img_resolution=settings.side,
        img_channels=settings.image_channels,
        label_dim=settings.num_labels,
        model_type="DhariwalUNet" if settings.is_adm else "SongUNet",
        model_channels=settings.channels,
        channel_mult=list(settings.multipliers),
        num_blocks=settings.num_blocks,
        attn_resolutions=list(settings.attention_sides),
        augment_dim=settings.num_augmentations,
    ).eval()
    network.load_state_dict({PREFIX + name: value for name, value in tensors.items()}, strict=False)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, settings.side, settings.side, settings.image_channels))
    inputs = {"x": x.astype(np.float32), "sigma": np.array([0.3, 2.0], np.float32)}
    if settings.num_labels:
        inputs["labels"] = np.eye(settings.num_labels, dtype=np.float32)[[0, 1]]
    arguments = [torch.tensor(value) for value in inputs.values()]
    arguments[0] = arguments[0].permute(0, 3, 1, 2)
    with torch.no_grad():
        output = network(*arguments).permute(0, 2, 3, 1).numpy()
    return {CHECK + name: value for name, value in (inputs | {"output": output}).items()}


if __name__ == "__main__":
    with one_line():
        main()
