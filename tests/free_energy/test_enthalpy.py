"""`enthalpy_and_entropy`: the covariance of Shirts and Chodera by NumPy, identities, coverage."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nce_jax
from nce_jax import Status, free_energy
from tests.free_energy.networks import oscillators


def pool():
    """Three states with samples and one without, with offsets: 40 samples."""
    rng = np.random.default_rng(2)
    stiffness, centers = np.array([1.0, 2.0, 4.0, 3.0]), np.array([0.0, 0.5, 1.0, 0.7])
    counts, offsets = np.array([15, 0, 10, 15]), np.array([0.0, 3.0, -7.0, 2.0])
    x = rng.normal(size=40) / np.sqrt(np.repeat(stiffness, counts)) + np.repeat(centers, counts)
    potentials = stiffness[:, None] / 2 * (x[None] - centers[:, None]) ** 2 + offsets[:, None]
    return potentials, counts


def oracle(potentials, counts, f):
    """Errors of h_j - h_i and of s_j - s_i from Theta = W^T (I - W N W^T)^+ W.

    W has a column for every state and one for each of its potentials, made positive, as if that
    were the weight of a state without samples.
    """
    weights = np.exp(f[:, None] - potentials)
    weights = (weights / (counts @ weights)[None]).T
    positive = (potentials - potentials.min() + 1).T
    means = np.sum(weights * positive, axis=0)
    columns = np.hstack([weights, weights * positive / means[None]])
    numbers = np.diag(np.concatenate([counts, np.zeros(len(counts))]))
    middle = np.eye(len(columns)) - columns @ numbers @ columns.T
    theta = columns.T @ np.linalg.pinv(middle, rcond=1e-10) @ columns
    k = len(counts)
    # The logarithms of the columns' normalizers are -f and log(mean) - f.
    to_h = np.hstack([-np.diag(means), np.diag(means)])
    to_s = to_h + np.hstack([np.eye(k), np.zeros((k, k))])
    errors = []
    for transform in (to_h, to_s):
        difference = transform[None] - transform[:, None]
        errors.append(np.sqrt(np.einsum("ija,ab,ijb->ij", difference, theta, difference)))
    return errors


@pytest.mark.costly
def test_errors_are_those_of_the_formula(x64):
    potentials, counts = pool()
    result = free_energy.enthalpy_and_entropy(potentials, counts)
    f = np.asarray(nce_jax.mbar(potentials, counts).f)
    of_enthalpy, of_entropy = oracle(potentials, counts, f)
    np.testing.assert_allclose(result.delta_h_standard_error, of_enthalpy, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(result.delta_s_standard_error, of_entropy, rtol=1e-9, atol=1e-9)


@pytest.mark.costly
def test_differences_are_those_of_the_means_and_of_the_free_energies(x64):
    potentials, counts = pool()
    result = free_energy.enthalpy_and_entropy(potentials, counts)
    means = free_energy.expectations(potentials, potentials, counts)
    solution = nce_jax.mbar(potentials, counts)
    enthalpy = np.asarray(means.value)
    np.testing.assert_allclose(result.delta_h, enthalpy[None] - enthalpy[:, None], atol=1e-12)
    np.testing.assert_allclose(result.delta_s, result.delta_h - solution.delta_f, atol=1e-12)
    np.testing.assert_array_equal(result.status, means.status)
    np.testing.assert_allclose(result.effective_samples, means.effective_samples)


@pytest.mark.costly
def test_float32_takes_constants_out_on_the_host():
    """Constants of the states shift enthalpies, and leave entropies and errors as they are."""
    potentials, counts = pool()
    constants = np.array([0.0, 1e3, -2e3, 5e2])
    near = free_energy.enthalpy_and_entropy(potentials, counts)
    far = free_energy.enthalpy_and_entropy(potentials + constants[:, None], counts)
    shift = constants[None] - constants[:, None]
    np.testing.assert_allclose(far.delta_h, near.delta_h + shift, atol=1e-3)
    np.testing.assert_allclose(far.delta_s, near.delta_s, atol=1e-3)
    np.testing.assert_allclose(far.delta_s_standard_error, near.delta_s_standard_error, atol=1e-4)


@pytest.mark.costly
def test_chunks_change_nothing(x64):
    potentials, counts = pool()
    whole = free_energy.enthalpy_and_entropy(potentials, counts)
    parts = free_energy.enthalpy_and_entropy(potentials, counts, chunk_size=7)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12), whole, parts
    )


@pytest.mark.costly
def test_no_overlap_leaves_enthalpies_and_no_entropies(x64):
    x = np.concatenate([np.linspace(-1, 1, 20), np.linspace(999, 1001, 20)])
    potentials = np.stack([x**2, (x - 1000) ** 2]) / 2
    result = free_energy.enthalpy_and_entropy(potentials, [20, 20])
    assert np.isfinite(result.delta_h).all()
    assert np.isnan(result.delta_s[0, 1])
    assert np.isnan(result.delta_s_standard_error[0, 1])
    assert result.delta_s[1, 1] == 0


@pytest.mark.costly
def test_errors_cover_the_truth(x64):
    """400 repetitions of five oscillators, k = 4: deviations over errors have variance one."""
    stiffness = jnp.linspace(1.0, 3.0, 5)
    centers = 0.8 * jnp.arange(5.0)

    def deviations(key):
        noise = jax.random.normal(key, (5, 300)) / jnp.sqrt(stiffness)[:, None]
        x = (centers[:, None] + noise).ravel()
        potentials = stiffness[:, None] / 2 * (x[None] - centers[:, None]) ** 2
        result = free_energy.enthalpy_and_entropy(potentials, jnp.full(5, 300))
        entropy = -jnp.log(stiffness) / 2
        exact = entropy[-1] - entropy[0]
        return jnp.stack(
            [
                result.delta_h[0, -1] / result.delta_h_standard_error[0, -1],
                (result.delta_s[0, -1] - exact) / result.delta_s_standard_error[0, -1],
            ]
        )

    found = jax.jit(jax.vmap(deviations))(jax.random.split(jax.random.key(0), 400))
    assert np.all(np.abs(np.mean(found, axis=0)) < 4 / np.sqrt(400))
    assert np.all(np.abs(np.mean(found**2, axis=0) - 1) < 4 * np.sqrt(2 / 400))


def test_oscillators_are_solved(x64):
    data = oscillators()
    result = free_energy.enthalpy_and_entropy(data.potentials, data.num_samples)
    assert set(np.asarray(result.status).tolist()) <= {Status.CONVERGED, Status.LOW_OVERLAP}
