"""Weights of published networks: what converters write is what the reader takes, and nothing else.

PyTorch is a module made by the test. The numbers of the original networks' outputs were computed
with PyTorch 2.14 by their authors' code, of the weights that `drawn` draws.
"""

import hashlib
import os
import pickle
import sys
import types
from pathlib import Path

import jax
import numpy as np
import pytest

from experiments.common.endings import CommandError
from experiments.common.networks import (
    ddpm_unet,
    edm_blocks,
    edm_unet,
    efficientnet,
    inception,
    inception_shapes,
    layers,
    weights,
)
from experiments.common.published import DataError
from experiments.converters import checkpoint, edm, inert
from nce_jax._archives import write_arrays


class Tensor:
    def __init__(self, array):
        self.array = array

    def detach(self):
        return self

    def numpy(self):
        return self.array


@pytest.fixture
def torch(monkeypatch):
    """A PyTorch that only knows `load` and `is_tensor`, and the arguments of its calls."""
    module = types.ModuleType("torch")
    module.calls, module.content, module.__version__ = [], {}, "2.6.0+cpu"

    def load(path, **options):
        module.calls.append((path, options))
        return module.content

    module.load, module.is_tensor = load, lambda value: isinstance(value, Tensor)
    monkeypatch.setitem(sys.modules, "torch", module)
    return module


def zeros(network):
    shapes = weights.NETWORKS[network].shapes()
    return {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}


@pytest.fixture
def small(monkeypatch):
    """A network of two arrays."""
    shapes = {"conv.weight": (2, 1, 3, 3), "fc.bias": (4,)}
    network = weights.Network(lambda: shapes, lambda weights, inputs: inputs["x"] * 2)
    monkeypatch.setitem(weights.NETWORKS, "small", network)
    return zeros("small")


def test_what_the_converter_writes_is_what_the_reader_takes(torch, small, tmp_path):
    path, output = tmp_path / "x.pth", tmp_path / "below" / "x.npz"
    path.write_bytes(b"content")
    counter = {"bn.num_batches_tracked": np.array(3)}
    torch.content = {name: Tensor(array + 1) for name, array in (small | counter).items()}
    digest = hashlib.sha256(b"content").hexdigest()
    checkpoint.write(output, checkpoint.read_checkpoint(path, "https://x", digest[:8]))
    assert torch.calls == [(path, {"map_location": "cpu", "weights_only": True})]
    read = weights.read_weights(output, "small")
    assert read.keys() == small.keys()
    np.testing.assert_array_equal(read["fc.bias"], np.ones(4))
    assert [item.name for item in output.parent.iterdir()] == ["x.npz"]


def test_another_checkpoint_is_refused_before_it_is_opened(torch, monkeypatch, tmp_path):
    path = tmp_path / "x.pth"
    with pytest.raises(CommandError, match=r"x.pth: expected the file https://x, got no plain"):
        checkpoint.read_checkpoint(path, "https://x", "0000")
    path.write_bytes(b"content")
    with pytest.raises(CommandError, match=r"x.pth: expected sha256 0000, got ed7002b4.*https://x"):
        checkpoint.read_checkpoint(path, "https://x", "0000")
    assert torch.calls == []
    torch.__version__ = "2.5.1"
    with pytest.raises(CommandError, match=r"torch: expected version 2.6 or later, got 2.5.1"):
        checkpoint.read_checkpoint(path, "https://x", "ed7002b4")
    assert torch.calls == []
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(CommandError, match=r"torch: expected version 2.6 or later, got none; run"):
        checkpoint.read_checkpoint(path, "https://x", "ed7002b4")
    monkeypatch.setitem(sys.modules, "torch", torch)
    torch.__version__, torch.content = "2.14.1", {"epoch": 7}
    with pytest.raises(CommandError, match="epoch: expected a tensor"):
        checkpoint.read_checkpoint(path, "https://x", "ed7002b4")


def test_arrays_of_another_network_are_refused_by_name(small, tmp_path):
    path = tmp_path / "x.npz"
    for change, message in (
        ({"conv.weight": np.zeros((2, 1, 3, 5), np.float32)}, r"float32.2, 1, 3, 3., got float32"),
        ({"fc.bias": np.zeros(4)}, r"fc.bias: expected float32.4,., got float64"),
        ({"fc.bias": np.full(4, np.nan, np.float32)}, "fc.bias: expected finite numbers"),
        ({"gc.bias": np.zeros(4)}, "gc.bias: expected the arrays of small, got an array that"),
    ):
        write_arrays(path, small | change)
        with pytest.raises(DataError, match=message):
            weights.read_weights(path, "small")
    write_arrays(path, {"fc.bias": small["fc.bias"]})
    with pytest.raises(DataError, match=r"conv.weight: expected the arrays .*got no such array"):
        weights.read_weights(path, "small")
    path.write_bytes(path.read_bytes()[:-9])
    for wrong in (path, tmp_path / "nothing.npz"):
        with pytest.raises(DataError, match=f"{wrong.name}.*experiments/converters"):
            weights.read_weights(wrong, "small")
    with pytest.raises(ValueError, match="network: expected one of 'efficientnet-lite0'"):
        weights.read_weights(path, "resnet")


def test_a_forward_pass_of_the_original_code_is_repeated(small, tmp_path):
    path, x = tmp_path / "x.npz", np.arange(4, dtype=np.float32)
    write_arrays(path, small | {"check.x": x, "check.output": 2 * x + 1e-4})
    assert weights.read_weights(path, "small").keys() == small.keys()
    for output in (3 * x, np.full(4, np.nan), 2 * x[:3]):
        write_arrays(path, small | {"check.x": x, "check.output": output})
        with pytest.raises(DataError, match="expected the output of the original code for small"):
            weights.read_weights(path, "small")
    for checks in ({"check.x": x}, {"check.output": x}, {"check.y": x, "check.output": x}):
        write_arrays(path, small | checks)
        with pytest.raises(DataError, match="expected inputs and output of a forward pass of sma"):
            weights.read_weights(path, "small")


def test_the_networks_have_their_published_sizes():
    """Parameters without the running moments.

    EfficientNet-Lite0 has 4,652,008. torchvision counts 27,161,264 for its Inception, 3,326,696 of
    them in the auxiliary head that this one lacks; 8 more classes have 8 * 2,049 parameters. EDM
    (table 7) counts 55.73 million for CIFAR-10 and 295.90 million for ImageNet, DDPM 35.7 million.
    """
    counts = {
        name: sum(
            int(np.prod(shape))
            for array, shape in network.shapes().items()
            if "running" not in array
        )
        for name, network in weights.NETWORKS.items()
    }
    assert counts["efficientnet-lite0"] == 4_652_008
    assert counts["inception-2015-12-05"] == 27_161_264 - 3_326_696 + 8 * 2_049
    assert round(counts["edm-cifar10"] / 1e6, 2) == 55.73
    assert round(counts["edm-imagenet64"] / 1e6, 2) == 295.90
    # Of OpenAI's constructor with the flags of its launch.sh.
    assert counts["openai-edm-imagenet64"] == 295_899_267
    assert round(counts["ddpm-cifar10"] / 1e6, 1) == 35.7
    # Arrays in the published checkpoint, counted without unpickling it.
    assert len(efficientnet.shapes()) == 247


def drawn(shapes):
    """Arrays of variance 1 / fan-in, and scales of norms around 1 (seed 0)."""
    rng = np.random.default_rng(0)
    arrays = {}
    for name in sorted(shapes):
        shape = shapes[name]
        values = rng.normal(size=shape) / (np.prod(shape[1:]) ** 0.5 if len(shape) > 1 else 1)
        is_scale = "norm" in name and name.endswith("weight")
        arrays[name] = (values + is_scale).astype(np.float32)
    return arrays


NOISED = np.random.default_rng(1).normal(size=(2, 8, 8, 3)).astype(np.float32)
LABELS = np.eye(3, dtype=np.float32)[[2, 0]]


@pytest.mark.costly
@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (
            edm_blocks.Settings("ddpm++", 8, 8, (1, 2), 1, (4,), 3, 2),
            [0.8237997, -0.51733005, -0.52892375, 0.08201385, -1.2128289, -0.5645256, -0.7443701],
        ),
        (
            edm_blocks.Settings("adm", 8, 64, (1, 2), 1, (8, 4), 3),
            [0.6963657, 0.37348258, 0.03418794, 0.5911639, -0.5796381, 0.49034178, 0.40328872],
        ),
    ],
)
def test_a_denoiser_is_that_of_edm(settings, expected):
    output = edm_unet.denoise(
        settings, drawn(edm_blocks.shapes(settings)), NOISED, np.array([0.3, 2.0]), LABELS
    )
    np.testing.assert_allclose(output.ravel()[::39][:7], expected, atol=1e-5)


@pytest.mark.costly
def test_the_noise_is_that_of_ddpm():
    settings = ddpm_unet.Settings(8, 32, (1, 2), 1, (4,))
    output = ddpm_unet.predicted_noise(
        settings, drawn(ddpm_unet.shapes(settings)), NOISED, np.array([3.0, 700.0])
    )
    expected = [1.3887732, 1.6059489, 1.512036, 0.96942365, 2.6869085, 1.2053869, 2.5884871]
    np.testing.assert_allclose(output.ravel()[::39][:7], expected, atol=1e-4)


@pytest.mark.costly
def test_the_denoiser_of_ddpm_takes_the_noise_away_that_it_predicts():
    """At the level of step 700: x_t = kept^(1/2) x_0 + (1 - kept)^(1/2) noise."""
    settings = ddpm_unet.Settings(8, 32, (1, 2), 1, (4,))
    arrays = drawn(ddpm_unet.shapes(settings))
    kept = np.prod(1 - np.linspace(1e-4, 0.02, 1000)[:701])
    x_0, noise = NOISED
    x_t = (kept**0.5 * x_0 + (1 - kept) ** 0.5 * noise)[None]
    predicted = ddpm_unet.predicted_noise(settings, arrays, x_t, np.array([700.0]))
    level = np.sqrt(1 / kept - 1)
    output = ddpm_unet.denoise(settings, arrays, x_t / kept**0.5, np.array([level]))
    expected = (x_t - (1 - kept) ** 0.5 * predicted) / kept**0.5
    np.testing.assert_allclose(output, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.costly
def test_features_of_random_networks_tell_images_apart():
    """Inception's were compared with pytorch-fid's, Lite0's with the published network's."""
    images = np.random.default_rng(0).uniform(size=(2, 32, 32, 3)).astype(np.float32)
    for network, shapes, size in (
        (inception, inception_shapes.shapes(), 2048),
        (efficientnet, efficientnet.shapes(), 1280),
    ):
        values = network.features(layers.init(shapes, jax.random.key(0)), images)
        assert values.shape == (2, size)
        assert np.isfinite(values).all()
        assert np.abs(values[0] - values[1]).max() > 0


class Evil:
    """Makes a folder where it is unpickled."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def module(parameters, parts=None):
    """The state of a module as PyTorch keeps it."""
    return {
        "_parameters": dict(parameters),
        "_buffers": {"resample_filter": None},
        "_modules": dict(parts or {}),
    }


def test_nothing_of_a_pickle_runs(tmp_path):
    path, folder = tmp_path / "x.pkl", tmp_path / "made"
    bias = [1.0, 2.0]
    network = module({"bias": bias}, {"enc": module({"weight": bias}), "none": None})
    path.write_bytes(pickle.dumps({"ema": network, "loss": Evil(folder), "path": Path("a")}))
    content = inert.load(path)
    assert not folder.exists()
    assert isinstance(content["loss"], inert.Inert)
    assert inert.tensors(content["ema"]) == {"bias": bias, "enc.weight": bias}
    path.write_bytes(b"no pickle")
    with pytest.raises(CommandError, match=r"x.pkl: expected a pickle of a network"):
        inert.load(path)


def named(module, name):
    """A pickle of protocol 4 that names a class, dotted or not."""
    parts = [b"\x8c" + bytes([len(text)]) + text.encode() for text in (module, name)]
    return b"\x80\x04" + b"".join(parts) + b"\x93."


@pytest.mark.parametrize(
    "name",
    [
        ("os", "system"), ("torch", "os.system"), ("torch", "UntypedStorage"),
        ("torch", "storage.UntypedStorage"), ("torch", "_guards._TLSStorage"),
        ("torch._utils", "_rebuild_parameter.__globals__"), ("builtins", "set.__init__"),
        ("collections", "OrderedDict.fromkeys"), ("builtins", "eval"), ("builtins", "getattr"),
    ],
)  # fmt: skip
def test_a_name_in_a_pickle_gets_nothing_of_its_module(torch, tmp_path, name):
    """PyTorch's own classes neither: a pickle could call them, or set their attributes."""
    torch.UntypedStorage = torch.storage = torch._guards = torch.os = os
    path = tmp_path / "x.pkl"
    path.write_bytes(named(*name))
    assert issubclass(inert.load(path), inert.Inert)


def test_a_tensor_beyond_its_storage_is_refused(torch):
    """PyTorch enlarges the storage, by numbers that no file holds."""
    storage = types.SimpleNamespace(_size=lambda: 12)
    torch._utils = types.SimpleNamespace(_rebuild_tensor_v2=lambda *arguments: arguments[1:4])
    assert inert._tensor(storage, 0, (3, 4), (4, 1), False, {}) == (0, (3, 4), (4, 1))
    assert inert._tensor(storage, 12, (0, 4), (4, 1))[0] == 12
    for offset, shape, strides in (
        (1, (3, 4), (4, 1)), (0, (4, 4), (4, 1)), (0, (-1,), (1,)), (3, (2,), (-1,)),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="a tensor of shape .* in 12 numbers"):
            inert._tensor(storage, offset, shape, strides)


def test_modules_of_another_structure_are_refused(tmp_path):
    loop = module({})
    loop["_modules"]["again"] = loop
    path = tmp_path / "x.pkl"
    for network in (loop, module({3: [1.0]}), {"_modules": 3}, {"_parameters": [1]}):
        path.write_bytes(pickle.dumps({"ema": network}))
        with pytest.raises(CommandError, match=r"x.pkl, pickle: expected modules with tensors"):
            edm.read_network(path)
    settings = edm_blocks.SETTINGS["edm-cifar10"]
    arrays = {name: Shaped(shape) for name, shape in edm_blocks.shapes(settings).items()}
    with pytest.raises(CommandError, match=r"map_layer0.bias: expected \(\d+,\), got no tensor"):
        edm.check(path, settings, arrays | {"map_layer0.bias": 3})


class Shaped:
    """An array that has a shape, and survives as an inert object does."""

    def __init__(self, shape):
        self.shape = shape


def test_arrays_of_another_network_are_named_by_the_converter(tmp_path):
    settings = edm_blocks.SETTINGS["edm-cifar10"]
    arrays = {name: Shaped(shape) for name, shape in edm_blocks.shapes(settings).items()}
    edm.check(Path("x.pkl"), settings, arrays)
    arrays["map_layer0.bias"] = Shaped((7,))
    with pytest.raises(CommandError, match=r"x.pkl, map_layer0.bias.*see --network"):
        edm.check(Path("x.pkl"), settings, arrays)
    path = tmp_path / "x.pkl"
    for content in (b"", pickle.dumps([1])):
        path.write_bytes(content)
        with pytest.raises(CommandError, match="x.pkl: expected a pickle"):
            edm.read_network(path)
    with pytest.raises(CommandError, match="expected a file of https"):
        edm.read_network(tmp_path / "nothing.pkl")
    with pytest.raises(CommandError, match="--origin: expected a clone of NVlabs/edm"):
        edm.forward_pass(tmp_path, settings, {})
