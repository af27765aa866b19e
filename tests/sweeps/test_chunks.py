"""How a grid is cut: by measured memory, in as few compilations as that takes, and said so."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh

import nce_jax
from nce_jax import sweeps
from nce_jax.sweeps import _chunks, _program


def heavy(lane):
    block = jnp.sin(lane + jnp.arange(10_000.0))
    return jnp.cumsum(block)[::1000]  # a cumulative sum needs its block in memory


def test_the_memory_of_a_lane_is_measured_and_recorded():
    chunking = nce_jax.sweep(
        heavy, axes={"lane": jnp.arange(64.0)}, memory_limit=1_000_000
    ).chunking
    assert chunking.bytes_limit == 1_000_000
    assert chunking.bytes_per_chunk <= 1_000_000
    # A block is 40,000 bytes, and some are held at once.
    assert 40_000 <= chunking.bytes_per_lane <= 200_000
    assert chunking.bytes_per_chunk == pytest.approx(
        chunking.bytes_per_lane * chunking.sizes["lane"], rel=0.3
    )
    more = chunking.bytes_per_chunk + chunking.bytes_per_lane * (chunking.sizes["lane"] + 1)
    assert more > 1_000_000, "twice the lanes would have fitted"


def test_chunks_are_found_in_three_compilations(monkeypatch):
    sizes = []

    def counted(fn, axes, layout, inner=_program.compiled):
        sizes.append(axes["lane"].shape[0])
        return inner(fn, axes, layout)

    monkeypatch.setattr(_chunks, "compiled", counted)
    chunking = nce_jax.sweep(
        lambda lane: heavy(lane), axes={"lane": jnp.arange(512.0)}, memory_limit=1_000_000
    ).chunking
    assert {512, 1, chunking.sizes["lane"]} == set(sizes)


def test_what_fits_is_compiled_once(monkeypatch):
    traces = []

    def fn(lane):
        traces.append(1)
        return heavy(lane)

    assert nce_jax.sweep(fn, axes={"lane": jnp.arange(8.0)}).num_chunks == 1
    assert len(traces) == 1


def test_a_second_axis_is_cut_where_one_is_not_enough():
    whole = nce_jax.sweep(
        lambda a, lane: heavy(a * lane), axes={"a": jnp.arange(1.0, 7.0), "lane": jnp.arange(8.0)}
    )
    chunked = nce_jax.sweep(
        lambda a, lane: heavy(a * lane),
        axes={"a": jnp.arange(1.0, 7.0), "lane": jnp.arange(8.0)},
        memory_limit=300_000,
    )
    assert chunked.chunking.sizes["lane"] == 1
    assert 1 <= chunked.chunking.sizes["a"] < 6
    np.testing.assert_array_equal(chunked.values, whole.values)


def test_a_limit_below_one_lane_is_refused():
    with pytest.raises(
        sweeps.MemoryLimitError, match=r"memory_limit: expected at least the \d+ bytes .* got 10"
    ):
        nce_jax.sweep(heavy, axes={"lane": jnp.arange(4.0)}, memory_limit=10)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("limit", "error", "message"),
    [
        ("1GB", TypeError, "memory_limit: expected an integer, got '1GB'"),
        (1e9, TypeError, "memory_limit: expected an integer, got 1000000000.0"),
        (-5, ValueError, "memory_limit: expected at least 1, got -5"),
    ],
)
def test_a_limit_is_a_number_of_bytes(tmp_path, limit, error, message):
    with pytest.raises(error, match=message):
        nce_jax.sweep(
            heavy, axes={"lane": jnp.arange(4.0)}, folder=tmp_path / "s", memory_limit=limit
        )
    assert not (tmp_path / "s").exists()


def test_memory_is_counted_per_device():
    mesh = Mesh(np.array(jax.devices()[:4]), ("lane",))
    one = nce_jax.sweep(heavy, axes={"lane": jnp.arange(64.0)}, memory_limit=1_000_000).chunking
    four = nce_jax.sweep(
        heavy, axes={"lane": jnp.arange(64.0)}, mesh=mesh, memory_limit=1_000_000
    ).chunking
    assert four.num_devices == 4
    assert four.bytes_per_chunk <= 1_000_000
    assert one.sizes["lane"] < four.sizes["lane"] <= 4 * (one.sizes["lane"] + 1)
    assert four.bytes_per_lane == pytest.approx(one.bytes_per_lane, rel=0.3)


def test_devices_of_one_host_share_its_memory():
    mesh = Mesh(np.array(jax.devices()[:4]), ("lane",))
    alone, shared = (_chunks.free_memory(_program.make_layout({"a": 8}, m)) for m in (None, mesh))
    assert shared == pytest.approx(alone / 4, rel=0.5)  # other processes use memory meanwhile


@pytest.mark.parametrize(
    ("lengths", "sizes"), [((5, 7), (2, 7)), ((5, 7), (2, 3)), ((3, 16), (3, 8)), ((1, 1), (1, 1))]
)
@pytest.mark.parametrize("num_devices", [1, 4])
def test_every_lane_is_answered_for_once(lengths, sizes, num_devices):
    named = dict(zip(("a", "seed"), lengths, strict=True))
    mesh = Mesh(np.array(jax.devices()[:num_devices]), ("lane",))
    layout = _program.Layout(None, "seed") if num_devices == 1 else _program.Layout(mesh, "seed")
    chunk = {"a": sizes[0], "seed": -(-sizes[1] // num_devices) * num_devices}
    num_visits = np.zeros(lengths, int)
    for block in _chunks.blocks(named, chunk, layout):
        num_visits[tuple(slice(block.start[n], block.stop[n]) for n in named)] += 1
        for name, part in zip(named, _chunks.result_part(block), strict=True):
            assert 0 <= part.start < part.stop <= chunk[name]
    assert (num_visits == 1).all()


def test_chunks_are_as_equal_as_can_be():
    layout = _program.Layout(None, "a")
    for total, most in itertools.product(range(1, 30), range(1, 30)):
        size = _chunks._even({"a": total}, "a", most, layout)
        assert size <= max(1, most)
        assert -(-total // size) == -(-total // min(most, total))


@pytest.mark.costly
def test_a_bar_counts_lanes(capsys):
    nce_jax.sweep(lambda lane: lane, axes={"lane": jnp.arange(10.0)}, max_lanes=4)
    assert "10/10" in capsys.readouterr().err
    nce_jax.sweep(lambda lane: lane, axes={"lane": jnp.arange(10.0)}, max_lanes=4, progress=False)
    assert capsys.readouterr().err == ""
