"""OpenAI's denoiser of ImageNet at 64 x 64 pixels, trained as in EDM, to npz.

The samplers of DxMI and of "Noisier NCE" begin as this one. In an environment with PyTorch, in this
repository's folder:

    python -m experiments.converters.openai_edm edm_imagenet64_ema.pt openai-edm-imagenet64.npz

With `--origin`, a clone of https://github.com/openai/consistency_models, its network is run with
these arrays on two images of noise; the reader then compares our network's output with that.
`experiments.common.networks.weights.read_weights` reads the result. Ready to run: it was run with
the original code's network of the published size and random weights, not with the published file,
of which we found no published digest.

Against NVIDIA's `edm-imagenet64`, by both codes and the settings that OpenAI's `launch.sh` samples
this file with:

- The same: preconditioning; frequencies of the noise level, cosines first; SiLU before every
  block's linear layer, of which the scale comes before the shift; groups (32 here, a quarter of the
  channels there, at most 32) and 1e-5 of the norms; blocks, skips and attention at 32, 16 and 8
  pixels and in the middle; means of four pixels and repeated pixels between SiLU and convolution;
  residuals that are added without a factor; heads of 64 channels, scores over 8; classes in the
  order of WordNet's numbers.
- Converted here: names, the classes' layout, and the order of queries, keys and values. Theirs is
  that of flash attention, (three, heads, channels), with which the network was trained.
- Different in the network: its noise level is 250 log(sigma), not log(sigma) / 4
  (`edm_blocks.Settings.noise_scale`). The 1e-44 within their logarithm is lost in float32.
- Left out: dropout (0.1 in training, none in DxMI), and the half precision in which they sample.
"""

import argparse
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np

from experiments.common.endings import CommandError, one_line
from experiments.common.networks import edm_blocks
from experiments.common.networks.shapes import CHECK
from experiments.converters import checkpoint, inert

ADDRESS = "https://openaipublic.blob.core.windows.net/consistency/edm_imagenet64_ema.pt"
NETWORK = "openai-edm-imagenet64"

BLOCK = {
    "norm0": "in_layers.0",
    "conv0": "in_layers.2",
    "affine": "emb_layers.1",
    "norm1": "out_layers.0",
    "conv1": "out_layers.3",
    "skip": "skip_connection",
}
ATTENTION = {"norm2": "norm", "qkv": "qkv", "proj": "proj_out"}
"""Names in the checkpoint of a block's layers, and of the attention that comes after it."""

UNUSED = {
    "piq": "LPIPS",
    "torchvision.transforms": "RandomCrop",
    "cm.dist_util": "dev",
    "cm.logger": "log",
    "cm.random_util": "get_generator",
}
"""What the original code imports and a forward pass does not call, so that it may be missing."""


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description="OpenAI's denoiser of ImageNet 64 to npz.")
    parser.add_argument("checkpoint", type=Path, help=f"the published file, from {ADDRESS}")
    parser.add_argument("output", type=Path, help="the npz file to write")
    parser.add_argument("--origin", type=Path, help="a clone of openai/consistency_models")
    arguments = parser.parse_args()
    settings = edm_blocks.SETTINGS[NETWORK]
    tensors = checkpoint.read_checkpoint(arguments.checkpoint, ADDRESS)
    arrays = convert(arguments.checkpoint, settings, tensors)
    if arguments.origin is not None:
        arrays |= forward_pass(arguments.origin, settings, tensors)
    checkpoint.write(arguments.output, arrays)
    print(f"{arguments.output}: {len(arrays)} arrays")


def convert(
    path: Path, settings: edm_blocks.Settings, tensors: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Arrays of our network by name, float32, from those of the checkpoint.

    Raises:
        CommandError: they are not those of the network.
    """
    layers, names, expected = layer_names(settings), {}, {}
    for name, shape in edm_blocks.shapes(settings).items():
        layer, _, leaf = name.rpartition(".")
        names[name] = f"{layers[layer]}.{leaf}"
        # Of an embedding, a row is a class; of a linear layer, a column.
        expected[names[name]] = shape[::-1] if layer == "map_label" else shape
    # A qkv of three axes is ADM's own: the same network, whose qkv has another order.
    checkpoint.check_shapes(path, expected, tensors, f"give the file of {ADDRESS}")
    return {here: _as_here(here, tensors[there]) for here, there in names.items()}


def layer_names(settings: edm_blocks.Settings) -> dict[str, str]:
    """The checkpoint's name of every layer, by its name here."""
    encoder, decoder = edm_blocks.plan(settings)
    norm, last = edm_blocks.ends(settings)
    names = {"map_layer0": "time_embed.0", "map_layer1": "time_embed.2", "map_label": "label_emb"}
    names |= {f"enc.{settings.side}x{settings.side}_conv": "input_blocks.0.0"}
    for number, block in enumerate(encoder, start=1):
        names |= _names(block, f"input_blocks.{number}", 0)
    names |= _names(decoder[0], "middle_block", 0) | _names(decoder[1], "middle_block", 2)
    number, size = -1, 0
    for block in decoder[2:]:
        if not block.change:
            number, size = number + 1, 0
        # What enlarges the image is the last part of the level below, not the first of the next.
        names |= _names(block, f"output_blocks.{number}", size)
        size += 1 + block.attends
    return names | {norm: "out.0", last: "out.2"}


def _names(block: edm_blocks.Block, group: str, place: int) -> dict[str, str]:
    return {
        f"{block.name}.{here}": f"{group}.{place + after}.{there}"
        for after, part in enumerate((BLOCK, ATTENTION))
        for here, there in part.items()
    }


def _as_here(name: str, array: np.ndarray) -> np.ndarray:
    """The array of the checkpoint in the layout that our network reads."""
    if name == "map_label.weight":
        array = array.T
    elif name.rpartition(".")[0].endswith(".qkv"):
        # (three, heads x channels) -> (heads x channels, three), on the first axis.
        parts = array.reshape(3, -1, *array.shape[1:])
        array = parts.swapaxes(0, 1).reshape(array.shape)
    return np.ascontiguousarray(array, np.float32)


def forward_pass(
    origin: Path, settings: edm_blocks.Settings, tensors: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Inputs and output of the original denoiser, in single precision."""
    for name in ("unet", "karras_diffusion"):
        if not (origin / f"cm/{name}.py").is_file():
            raise CommandError(
                f"--origin: expected a clone of openai/consistency_models, got {origin}"
            )
    torch = inert.import_torch()
    network, denoiser = _original(origin, settings)
    network.load_state_dict({name: torch.tensor(array) for name, array in tensors.items()})
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, settings.side, settings.side, settings.image_channels))
    x, sigma = x.astype(np.float32), np.array([0.3, 2.0], np.float32)
    # They differ: of equal ones, no wrong order would be seen.
    classes = np.array([0, settings.num_labels - 1])
    with torch.no_grad():
        # Contiguous: their attention takes views of what the convolutions return.
        planes = torch.tensor(x).permute(0, 3, 1, 2).contiguous()
        _, output = denoiser.denoise(network, planes, torch.tensor(sigma), y=torch.tensor(classes))
        output = output.permute(0, 2, 3, 1).numpy()
    labels = np.eye(settings.num_labels, dtype=np.float32)[classes]
    found = {"x": x, "sigma": sigma, "labels": labels, "output": output}
    return {CHECK + name: np.ascontiguousarray(array) for name, array in found.items()}


def _original(origin: Path, settings: edm_blocks.Settings) -> tuple[Any, Any]:
    """Their network, with random weights, and their denoiser."""
    sys.path.insert(0, str(origin))
    for name, content in UNUSED.items():
        stub = types.ModuleType(name)
        setattr(stub, content, None)
        sys.modules.setdefault(name, stub)
    from cm import karras_diffusion, unet

    # Flash attention needs a GPU and half precision. Their plain class has the same order.
    unet.QKVFlashAttention = lambda channels, num_heads: unet.QKVAttention(num_heads)
    network = unet.UNetModel(
        image_size=settings.side,
        in_channels=settings.image_channels,
        model_channels=settings.channels,
        out_channels=settings.image_channels,
        num_res_blocks=settings.num_blocks,
        attention_resolutions=tuple(settings.side // side for side in settings.attention_sides),
        channel_mult=settings.multipliers,
        num_classes=settings.num_labels,
        num_head_channels=settings.head_channels,
        use_scale_shift_norm=True,
        resblock_updown=True,
    )
    return network.eval(), karras_diffusion.KarrasDenoiser(sigma_data=0.5, loss_norm="l2")


if __name__ == "__main__":
    with one_line():
        main()
