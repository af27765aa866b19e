"""Fixtures and settings of the whole suite.

Nothing of nce_jax is imported here: the run-time type checks must be installed before.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import jax
import jax.numpy as jnp
import pytest

FLOAT_DTYPES = ("float32", "float64")

# Timings of compiled code vary too much for a deadline; a failure must come back on the next run.
hypothesis.settings.register_profile("suite", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("suite")


def pytest_configure(config: pytest.Config) -> None:
    """Silent broadcasting between ranks is an error here; the library itself sets nothing
    global.
    """
    jax.config.update("jax_numpy_rank_promotion", "raise")
    jax.config.update("jax_num_cpu_devices", 8)  # virtual ones, for the tests of meshes
    config.pluginmanager.register(ExamplesAsUsersRunThem())
    config.pluginmanager.register(CompiledProgramsAreDropped())
    config.pluginmanager.register(FiguresAreClosed())
    os.environ.setdefault("MPLBACKEND", "agg")  # figures are drawn without a display


class ExamplesAsUsersRunThem:
    """Doctests keep JAX's defaults; distrax, in some of them, broadcasts between ranks."""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        if type(item).__name__ != "DoctestItem":
            return (yield)
        with jax.numpy_rank_promotion("allow"):
            return (yield)


class CompiledProgramsAreDropped:
    """Every compiled program holds memory maps, of which a process may have 65,530: the whole suite
    would use them up, and the process would crash.
    """

    every = 25
    most = 20_000
    maps = Path("/proc/self/maps")  # of Linux; elsewhere there is no such limit
    count = 0

    def pytest_runtest_teardown(self, nextitem: pytest.Item | None) -> None:
        self.count += 1
        if self.count % self.every == 0 and nextitem is not None and self.maps.exists():
            with self.maps.open("rb") as lines:
                num_maps = sum(1 for _ in lines)
            if num_maps > self.most:
                jax.clear_caches()


class FiguresAreClosed:
    """pyplot keeps every figure that it made, and warns of more than twenty."""

    def pytest_runtest_teardown(self) -> None:
        if "matplotlib.pyplot" in sys.modules:
            sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture
def x64() -> Iterator[None]:
    """float64 for the length of one test, and nowhere else."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(params=FLOAT_DTYPES)
def float_dtype(request: pytest.FixtureRequest) -> Iterator[jnp.dtype]:
    """Runs a test once per floating dtype, with x64 on where the dtype needs it."""
    with jax.enable_x64(request.param == "float64"):
        yield jnp.dtype(request.param)
