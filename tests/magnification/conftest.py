"""Tests of the choice of M."""

from collections.abc import Iterator

import jax
import pytest


@pytest.fixture(autouse=True)
def rank_promotion_as_distrax_needs_it() -> Iterator[None]:
    with jax.numpy_rank_promotion("allow"):
        yield
