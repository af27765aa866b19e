"""OpenAI's denoiser of ImageNet: its arrays, converted, give what its own code computes.

The oracle is written from the formulas of openai/consistency_models, in float64, on the names and
layouts of its checkpoint. PyTorch and the clone are modules made by the test.
"""

import contextlib
import sys
import types
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.common.endings import CommandError, one_line
from experiments.common.networks import edm_blocks, edm_unet, weights
from experiments.converters import checkpoint, edm, openai_edm
from experiments.diffusion_images.config import PRESETS

PUBLISHED = edm_blocks.SETTINGS[openai_edm.NETWORK]
SMALL = PUBLISHED._replace(
    side=8, channels=128, multipliers=(1, 1, 2), num_blocks=1, attention_sides=(4,), num_labels=3
)
WIDTH, NUM_CLASSES, HEAD = 128, 3, 64

ENCODER = [
    [("res", 128, 128)],
    [("down", 128, 128)],
    [("res", 128, 128), ("attend", 128)],
    [("down", 128, 128)],
    [("res", 128, 256)],
]
MIDDLE = [("res", 256, 256), ("attend", 256), ("res", 256, 256)]
DECODER = [
    [("res", 512, 256)],
    [("res", 384, 256), ("up", 256, 256)],
    [("res", 384, 128), ("attend", 128)],
    [("res", 256, 128), ("attend", 128), ("up", 128, 128)],
    [("res", 256, 128)],
    [("res", 256, 128)],
]
"""Groups of layers as the original's constructor makes them, of the settings above."""


def layer_shapes():
    """Shapes of the weights of all layers by the original's names; biases follow from them."""
    shapes = {
        "time_embed.0": (4 * WIDTH, WIDTH),
        "time_embed.2": (4 * WIDTH, 4 * WIDTH),
        "label_emb": (NUM_CLASSES, 4 * WIDTH),
        "input_blocks.0.0": (WIDTH, 3, 3, 3),
        "out.0": (WIDTH,),
        "out.2": (3, WIDTH, 3, 3),
    }
    groups = {f"input_blocks.{number}": group for number, group in enumerate(ENCODER, 1)}
    groups |= {"middle_block": MIDDLE}
    groups |= {f"output_blocks.{number}": group for number, group in enumerate(DECODER)}
    for group, parts in groups.items():
        for place, (kind, size, *rest) in enumerate(parts):
            name = f"{group}.{place}"
            if kind == "attend":
                shapes |= {f"{name}.norm": (size,), f"{name}.qkv": (3 * size, size, 1, 1)}
                shapes |= {f"{name}.proj_out": (size, size, 1, 1)}
                continue
            (out,) = rest
            shapes |= {f"{name}.in_layers.0": (size,), f"{name}.out_layers.0": (out,)}
            shapes |= {f"{name}.in_layers.2": (out, size, 3, 3)}
            shapes |= {f"{name}.out_layers.3": (out, out, 3, 3)}
            shapes |= {f"{name}.emb_layers.1": (2 * out, 4 * WIDTH)}
            if size != out:
                shapes |= {f"{name}.skip_connection": (out, size, 1, 1)}
    return shapes


@pytest.fixture(scope="module")
def tensors():
    """A checkpoint: normal draws of variance 1 / fan-in, scales of norms around 1 (seed 0)."""
    rng = np.random.default_rng(0)
    arrays = {}
    for name, shape in layer_shapes().items():
        size = np.prod(shape[1:]) if len(shape) > 1 and name != "label_emb" else 1
        values = rng.normal(size=shape) / size**0.5
        arrays[f"{name}.weight"] = (values + (len(shape) == 1)).astype(np.float32)
        if name != "label_emb":
            arrays[f"{name}.bias"] = rng.normal(size=shape[0]).astype(np.float32)
    return arrays


def silu(x):
    return x / (1 + np.exp(-x))


class Oracle:
    """The denoiser on images (n, channels, height, width)."""

    def __init__(self, arrays):
        self.arrays = {name: array.astype(np.float64) for name, array in arrays.items()}

    def denoise(self, x, sigma, classes):
        """c_skip x + c_out F(c_in x, 1000 * 0.25 * log sigma), sigma_data = 1/2."""
        level = sigma[:, None, None, None].astype(np.float64)
        total = level**2 + 0.5**2
        inner = self.network(x / total**0.5, 1000 * 0.25 * np.log(level.ravel()), classes)
        return 0.5**2 / total * x + level * 0.5 / total**0.5 * inner

    def network(self, x, times, classes):
        half = WIDTH // 2
        angles = np.outer(times, np.exp(-np.log(10_000) * np.arange(half) / half))
        features = np.concatenate([np.cos(angles), np.sin(angles)], axis=1)
        features = self.linear("time_embed.2", silu(self.linear("time_embed.0", features)))
        features = features + self.arrays["label_emb.weight"][classes]
        x = self.conv("input_blocks.0.0", x)
        skips = [x]
        for number, group in enumerate(ENCODER, 1):
            x = self.group(f"input_blocks.{number}", group, x, features)
            skips.append(x)
        x = self.group("middle_block", MIDDLE, x, features)
        for number, group in enumerate(DECODER):
            x = np.concatenate([x, skips.pop()], axis=1)
            x = self.group(f"output_blocks.{number}", group, x, features)
        return self.conv("out.2", silu(self.norm("out.0", x)))

    def group(self, name, parts, x, features):
        for place, (kind, *_) in enumerate(parts):
            part = f"{name}.{place}"
            x = self.attend(part, x) if kind == "attend" else self.block(part, kind, x, features)
        return x

    def block(self, name, kind, x, features):
        y = resized(kind, silu(self.norm(f"{name}.in_layers.0", x)))
        y = self.conv(f"{name}.in_layers.2", y)
        both = self.linear(f"{name}.emb_layers.1", silu(features))[:, :, None, None]
        scale, shift = np.split(both, 2, axis=1)
        y = silu(self.norm(f"{name}.out_layers.0", y) * (1 + scale) + shift)
        y, x = self.conv(f"{name}.out_layers.3", y), resized(kind, x)
        skip = f"{name}.skip_connection"
        return (self.conv(skip, x) if f"{skip}.weight" in self.arrays else x) + y

    def attend(self, name, x):
        n, channels, height, width = x.shape
        y = self.conv(f"{name}.qkv", self.norm(f"{name}.norm", x))
        y = y.reshape(n, 3, channels // HEAD, HEAD, height * width)
        query, key, value = y[:, 0], y[:, 1], y[:, 2]
        scores = np.einsum("nhct,nhcs->nhts", query, key) / HEAD**0.5
        exponents = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = exponents / exponents.sum(-1, keepdims=True)
        y = np.einsum("nhts,nhcs->nhct", mixed, value).reshape(x.shape)
        return x + self.conv(f"{name}.proj_out", y)

    def norm(self, name, x):
        parts = x.reshape(len(x), 32, -1)
        mean, variance = parts.mean(-1, keepdims=True), parts.var(-1, keepdims=True)
        normal = ((parts - mean) / np.sqrt(variance + 1e-5)).reshape(x.shape)
        scale, shift = (self.arrays[f"{name}.{leaf}"][:, None, None] for leaf in ("weight", "bias"))
        return normal * scale + shift

    def linear(self, name, x):
        return x @ self.arrays[f"{name}.weight"].T + self.arrays[f"{name}.bias"]

    def conv(self, name, x):
        kernel = self.arrays[f"{name}.weight"]
        height, width = x.shape[2:]
        edge = kernel.shape[-1] // 2
        padded = np.pad(x, ((0, 0), (0, 0), (edge, edge), (edge, edge)))
        y = self.arrays[f"{name}.bias"][:, None, None]
        for row, column in np.ndindex(kernel.shape[2:]):
            seen = padded[:, :, row : row + height, column : column + width]
            y = y + np.einsum("oi,nihw->nohw", kernel[:, :, row, column], seen, optimize=True)
        return y


def resized(kind, x):
    if kind == "up":
        return np.kron(x, np.ones((2, 2)))
    if kind == "down":
        return sum(x[:, :, row::2, column::2] for row in (0, 1) for column in (0, 1)) / 4
    return x


def denoised(tensors, x, sigma, classes):
    """The oracle's output of images (n, height, width, channels)."""
    return Oracle(tensors).denoise(x.transpose(0, 3, 1, 2), sigma, classes).transpose(0, 2, 3, 1)


@pytest.mark.costly
def test_the_converted_network_is_the_original(tensors, x64):
    """At the lowest and highest noise levels, too. Rounding of float64 alone is left."""
    x = np.random.default_rng(1).normal(size=(3, 8, 8, 3))
    sigma, classes = np.array([0.002, 0.7, 80.0]), np.array([2, 0, 1])
    arrays = openai_edm.convert("x.pt", SMALL, tensors)
    assert all(array.dtype == np.float32 for array in arrays.values())
    ours = {name: jnp.asarray(array, jnp.float64) for name, array in arrays.items()}
    noised = x * sigma[:, None, None, None]
    output = jax.jit(partial(edm_unet.denoise, SMALL))(ours, noised, sigma, np.eye(3)[classes])
    expected = denoised(tensors, noised, sigma, classes)
    np.testing.assert_allclose(output, expected, rtol=1e-9, atol=1e-9)


def test_arrays_of_another_network_are_named(tensors):
    """A qkv of three axes is of ADM's own checkpoints, which have another order."""
    qkv, label = "input_blocks.3.1.qkv.weight", "label_emb.weight"
    for changed, message in (
        ({qkv: tensors[qkv][..., 0]}, rf"x.pt, {qkv}: expected \(384, 128, 1, 1\), got \(384, 128"),
        ({label: tensors[label].T}, rf"x.pt, {label}: expected \(3, 512\), got \(512, 3\)"),
        ({"log_betas": np.zeros(10)}, r"x.pt, log_betas: expected no such array, got \(10,\)"),
    ):
        with pytest.raises(CommandError, match=rf"{message}.*openaipublic"):
            openai_edm.convert("x.pt", SMALL, tensors | changed)
    missing = {name: array for name, array in tensors.items() if name != "out.2.bias"}
    with pytest.raises(CommandError, match=r"x.pt, out.2.bias: expected \(3,\), got no such array"):
        openai_edm.convert("x.pt", SMALL, missing)


def test_layers_of_the_published_size_have_names_of_their_own():
    """The levels end at blocks 3, 7, 11 and 15; the enlarging part comes after the attention."""
    names = openai_edm.layer_names(PUBLISHED)
    assert len(set(names.values())) == len(names)
    assert names["enc.32x32_down.conv0"] == "input_blocks.4.0.in_layers.2"
    assert names["enc.8x8_block2.qkv"] == "input_blocks.15.1.qkv"
    assert names["dec.16x16_up.affine"] == "output_blocks.3.2.emb_layers.1"
    assert names["dec.64x64_up.norm1"] == "output_blocks.11.2.out_layers.0"
    assert names["dec.64x64_block3.skip"] == "output_blocks.15.0.skip_connection"
    assert PRESETS["gpu-imagenet64"].sampler_teacher == openai_edm.NETWORK
    assert PRESETS["gpu-imagenet64"].student_teacher == "edm-imagenet64"
    assert openai_edm.NETWORK not in edm.NETWORKS


class Tensor:
    """What a converter uses of PyTorch's tensors."""

    def __init__(self, array):
        self.array = array

    def permute(self, *axes):
        return Tensor(self.array.transpose(axes))

    def contiguous(self):
        return Tensor(np.ascontiguousarray(self.array))

    def detach(self):
        return self

    def numpy(self):
        return self.array


UNET = """
from . import logger

class QKVAttention:
    def __init__(self, n_heads):
        pass

class UNetModel:
    def __init__(
        self, image_size, in_channels, model_channels, out_channels, num_res_blocks,
        attention_resolutions, channel_mult, num_classes, num_head_channels, use_scale_shift_norm,
        resblock_updown,
    ):
        self.options = locals()
        assert isinstance(QKVFlashAttention(128, 2), QKVAttention)

    def eval(self):
        return self

    def load_state_dict(self, tensors):
        self.tensors = {name: tensor.array for name, tensor in tensors.items()}
"""
DENOISER = """
import torch
from piq import LPIPS
from torchvision.transforms import RandomCrop
from . import dist_util
from .random_util import get_generator

class KarrasDenoiser:
    def __init__(self, sigma_data, loss_norm="lpips"):
        assert (sigma_data, loss_norm) == (0.5, "l2")

    def denoise(self, model, x_t, sigmas, **model_kwargs):
        return None, torch.denoise(model, x_t, sigmas, **model_kwargs)
"""


@pytest.fixture
def torch(monkeypatch, tmp_path, tensors):
    """A PyTorch, a clone that computes by the oracle, and the small settings in place."""
    module = types.ModuleType("torch")
    module.__version__, module.seen = "2.6.0", []

    def denoise(model, x, sigma, y):
        module.seen.append(model.options)
        assert x.array.flags["C_CONTIGUOUS"], "PyTorch takes no view of what a convolution returns"
        return Tensor(Oracle(model.tensors).denoise(x.array, sigma.array, y.array))

    module.load = lambda path, **options: {name: Tensor(a) for name, a in tensors.items()}
    module.is_tensor, module.tensor = lambda value: isinstance(value, Tensor), Tensor
    module.no_grad, module.denoise = contextlib.nullcontext, denoise
    monkeypatch.setitem(sys.modules, "torch", module)
    monkeypatch.setitem(edm_blocks.SETTINGS, openai_edm.NETWORK, SMALL)
    network = weights._of_edm(openai_edm.NETWORK)
    network = network._replace(forward=jax.jit(network.forward))
    monkeypatch.setitem(weights.NETWORKS, openai_edm.NETWORK, network)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    folder = tmp_path / "clone/cm"
    folder.mkdir(parents=True)
    for name, text in (("__init__", ""), ("unet", UNET), ("karras_diffusion", DENOISER)):
        (folder / f"{name}.py").write_text(text)
    before = set(sys.modules)
    yield module
    for name in ["cm", "cm.unet", "cm.karras_diffusion", *openai_edm.UNUSED]:
        if name not in before:
            sys.modules.pop(name, None)


def command(monkeypatch, path, *options):
    output = path.with_name("x.npz")
    monkeypatch.setattr(sys, "argv", ["openai_edm", str(path), str(output), *map(str, options)])
    with one_line():
        openai_edm.main()
    return output


@pytest.mark.costly
def test_a_forward_pass_of_the_original_is_stored_and_repeated(torch, monkeypatch, tmp_path):
    path = tmp_path / "x.pt"
    path.write_bytes(b"content")
    output = command(monkeypatch, path, "--origin", tmp_path / "clone")
    (options,) = torch.seen
    assert options["attention_resolutions"] == (2,)
    assert options["channel_mult"] == (1, 1, 2)
    assert options["num_head_channels"] == HEAD
    read = weights.read_weights(output, openai_edm.NETWORK)
    assert read.keys() == edm_blocks.shapes(SMALL).keys()


def test_a_command_that_cannot_be_carried_out_ends_in_one_line(
    torch, monkeypatch, tmp_path, capsys
):
    path = tmp_path / "x.pt"

    def message(*options):
        with pytest.raises(SystemExit) as ending:
            command(monkeypatch, path, *options)
        assert ending.value.code == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert not path.with_name("x.npz").exists()
        return error

    assert "x.pt: expected the file https://openaipublic" in message()
    path.write_bytes(b"content")
    assert "--origin: expected a clone of openai/cons" in message("--origin", tmp_path / "other")
    torch.load = lambda path, **options: [1]
    assert "x.pt: expected tensors by name, got list" in message()

    def fail(path, **options):
        raise RuntimeError("file in archive is not in a subdirectory\nat line 7")

    torch.load = fail
    assert "_ema.pt, got file in archive is not in a subdirectory\n" in message()
    monkeypatch.setitem(sys.modules, "torch", None)
    assert "torch: expected version 2.6 or later, got none" in message()
    with pytest.raises(CommandError, match="x.pt: expected sha256 00, got"):
        checkpoint.read_checkpoint(path, "https://x", "00")
