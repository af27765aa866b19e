"""Weights of published networks: what converters write is what the reader takes, and nothing else.

PyTorch is a module made by the test: the converters have not been run with the real one.
"""

import hashlib
import sys
import types

import numpy as np
import pytest

from experiments.common import feature_weights
from experiments.common.endings import CommandError
from experiments.common.published import DataError
from experiments.converters import checkpoint
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
    module.calls, module.content = [], {}

    def load(path, **options):
        module.calls.append((path, options))
        return module.content

    module.load, module.is_tensor = load, lambda value: isinstance(value, Tensor)
    monkeypatch.setitem(sys.modules, "torch", module)
    return module


def zeros(network):
    shapes = feature_weights.SHAPES[network]()
    return {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}


@pytest.fixture
def small(monkeypatch):
    """A network of two arrays."""
    shapes = {"conv.weight": (2, 1, 3, 3), "fc.bias": (4,)}
    monkeypatch.setitem(feature_weights.SHAPES, "small", lambda: shapes)
    return zeros("small")


def test_what_the_converter_writes_is_what_the_reader_takes(torch, small, tmp_path):
    path, output = tmp_path / "x.pth", tmp_path / "below" / "x.npz"
    path.write_bytes(b"content")
    counter = {"bn.num_batches_tracked": np.array(3)}
    torch.content = {name: Tensor(array + 1) for name, array in (small | counter).items()}
    digest = hashlib.sha256(b"content").hexdigest()
    checkpoint.write(output, checkpoint.read_checkpoint(path, "https://x", digest[:8]))
    assert torch.calls == [(path, {"map_location": "cpu", "weights_only": True})]
    weights = feature_weights.read_weights(output, "small")
    assert weights.keys() == small.keys()
    np.testing.assert_array_equal(weights["fc.bias"], np.ones(4))
    assert [item.name for item in output.parent.iterdir()] == ["x.npz"]


def test_another_checkpoint_is_refused_before_it_is_opened(torch, tmp_path):
    path = tmp_path / "x.pth"
    with pytest.raises(CommandError, match=r"x.pth: expected the file https://x, got no plain"):
        checkpoint.read_checkpoint(path, "https://x", "0000")
    path.write_bytes(b"content")
    with pytest.raises(CommandError, match=r"x.pth: expected sha256 0000, got ed7002b4.*https://x"):
        checkpoint.read_checkpoint(path, "https://x", "0000")
    assert torch.calls == []
    torch.content = {"epoch": 7}
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
            feature_weights.read_weights(path, "small")
    write_arrays(path, {"fc.bias": small["fc.bias"]})
    with pytest.raises(DataError, match=r"conv.weight: expected the arrays .*got no such array"):
        feature_weights.read_weights(path, "small")
    path.write_bytes(path.read_bytes()[:-9])
    for wrong in (path, tmp_path / "nothing.npz"):
        with pytest.raises(DataError, match=f"{wrong.name}.*experiments/converters"):
            feature_weights.read_weights(wrong, "small")
    with pytest.raises(ValueError, match="network: expected one of 'efficientnet-lite0'"):
        feature_weights.read_weights(path, "resnet")


def test_the_networks_have_their_published_sizes():
    """Parameters without the running moments.

    EfficientNet-Lite0 has 4,652,008. torchvision counts 27,161,264 for its Inception, 3,326,696 of
    them in the auxiliary head that this one lacks; 8 more classes have 8 * 2,049 parameters.
    """
    counts = {
        network: sum(
            int(np.prod(shape)) for name, shape in shapes().items() if "running" not in name
        )
        for network, shapes in feature_weights.SHAPES.items()
    }
    assert counts["efficientnet-lite0"] == 4_652_008
    assert counts["inception-2015-12-05"] == 27_161_264 - 3_326_696 + 8 * 2_049
    # Arrays in the published checkpoint, counted without unpickling it.
    assert len(feature_weights.efficientnet_lite0_shapes()) == 247
