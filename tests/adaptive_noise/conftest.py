from collections.abc import Iterator

import jax
import pytest


@pytest.fixture(autouse=True)
def rank_promotion_as_distrax_needs_it() -> Iterator[None]:
    """distrax broadcasts samples (samples, dim) against parameters (dim,); what we add ourselves is
    tested.
    """
    with jax.numpy_rank_promotion("allow"):
        yield
