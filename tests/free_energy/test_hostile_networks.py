"""Random networks of states: poor overlap, isolated states, single samples, clashes, offsets.

Every difference that `mbar` gives is compared with the minimum of its component's own equation, by
Newton's method in extended precision.
"""

import jax
import numpy as np
import pytest

import nce_jax
from nce_jax import Status

SIZE = 240
"""Number of samples of a network, so that all of one number of states share a program."""


def random_network(rng: np.random.Generator, num_states: int):
    """Potentials (K, N) and numbers of samples of oscillators, heavy tails, or one-sided laws."""
    counts = 1 + rng.multinomial(SIZE - num_states, rng.dirichlet(np.full(num_states, 0.5)))
    if rng.random() < 0.2:
        empty, other = rng.choice(num_states, 2, replace=False)
        counts[other] += counts[empty]
        counts[empty] = 0
    centers = np.sort(rng.normal(size=num_states)) * 10 ** rng.uniform(-1, 1.3)
    stiffness = np.exp(rng.normal(size=num_states))
    kind = rng.integers(3)
    draw = (rng.normal, rng.standard_cauchy, rng.exponential)[kind]
    z = draw(size=SIZE) / np.sqrt(np.repeat(stiffness, counts))
    x = np.repeat(centers, counts) + z
    distance = x - centers[:, None]
    potentials = (
        stiffness[:, None] / 2 * distance**2,
        2 * stiffness[:, None] * np.log1p(distance**2),
        np.where(distance >= 0, np.sqrt(stiffness)[:, None] * distance, np.inf),
    )[kind]
    if rng.random() < 0.5:
        potentials = potentials + rng.normal(size=(num_states, 1)) * 10 ** rng.uniform(-1, 6)
    if rng.random() < 0.3:
        potentials = potentials + 1e5 * rng.normal(size=SIZE)
    return potentials, counts


def minimum(potentials: np.ndarray, counts: np.ndarray, start: np.ndarray) -> np.ndarray | None:
    """f of all given states by damped Newton steps; None where this does not converge."""
    f = np.asarray(start, np.longdouble)
    logs = np.log(counts.astype(np.longdouble))
    for _ in range(500):
        logits = (f + logs)[:, None] - potentials
        p = np.exp(logits - logits.max(axis=0))
        p /= p.sum(axis=0)
        hessian = (np.diag(p.sum(axis=1)) - p @ p.T).astype(float)
        step = np.zeros(len(f))
        gradient = (p.sum(axis=1) - counts).astype(float)
        try:
            step[1:] = -np.linalg.solve(hessian[1:, 1:], gradient[1:])
        except np.linalg.LinAlgError:
            return None
        length = np.ptp(step)
        f = f + step * (np.log1p(length) / length if length > 0.5 else 1)
        if length < 1e-12 * max(1, np.abs(f).max()):
            return f - f[0]
    return None


def faults(potentials: np.ndarray, counts: np.ndarray, eps: float):
    """What is wrong with the result, as texts, and how many differences were compared."""
    try:
        result = jax.tree.map(np.asarray, nce_jax.mbar(potentials, counts))
    except ValueError:  # float32 cannot hold the result
        return [], 0
    owners = np.repeat(np.arange(len(counts)), counts)
    own = potentials[owners, np.arange(SIZE)]
    found, compared = [], 0
    if np.any(result.status == Status.MAX_STEPS):
        found.append("MAX_STEPS")
    for first in np.unique(result.components[counts > 0]):
        members = np.flatnonzero((result.components == first) & (counts > 0))
        row = result.delta_f[members[0], members].astype(float)
        if not np.all(np.isfinite(row)):
            found.append(f"no number within component {members}")
            continue
        kept = np.isin(owners, members)
        relative = (potentials - own)[np.ix_(members, kept)]
        expected = minimum(relative, counts[members], row)
        if expected is None:
            continue
        errors = result.standard_error[members[0], members]
        errors = np.where(np.isfinite(errors), errors, 1.0)
        # A link of a thousandth of a sample to another component moves a poor estimate a little.
        admitted = eps**0.75 * 30 + 8 * eps * np.abs(expected) + 0.05 * errors
        compared += len(members) - 1
        if np.any(np.abs(row - expected) > admitted):
            found.append(f"{members}: {row - expected.astype(float)}, admitted {admitted}")
    return found, compared


@pytest.mark.costly
@pytest.mark.parametrize("num_states", [3, 8])
def test_no_answer_is_wrong_and_called_converged(num_states, float_dtype):
    """Networks 0 to 99 of every number of states."""
    compared = 0
    for seed in range(100):
        rng = np.random.default_rng([num_states, seed])
        found, count = faults(*random_network(rng, num_states), np.finfo(float_dtype).eps)
        assert found == [], seed
        compared += count
    assert compared > 50 * (num_states - 1)
