"""The slope of work values: an oracle, an identity, its null distribution, and what it finds."""

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

import nce_jax
from nce_jax import free_energy


def draw(rng, m=2000, n=1500, spread=1.5, delta_f=1.0):
    """Gaussian work, for which Crooks' theorem holds exactly."""
    dissipated = spread**2 / 2
    forward = delta_f + dissipated + spread * rng.normal(size=m)
    return forward, -delta_f + dissipated + spread * rng.normal(size=n)


@pytest.fixture(scope="module")
def work():
    return draw(np.random.default_rng(0))


def test_the_slope_is_that_of_scikit_learn(work):
    """With the two sides weighted equally, as the losses of this library are at kappa = 1."""
    forward, reverse = work
    u = np.concatenate([-forward, reverse])[:, None]
    label = np.arange(len(u)) >= len(forward)
    weights = np.where(label, 1 / len(reverse), 1 / len(forward)) * len(u)
    model = LogisticRegression(C=1e12, tol=1e-10, max_iter=1000).fit(u, label, weights)
    assert free_energy.work_slope(forward, reverse).slope == pytest.approx(
        model.coef_.item(), rel=1e-5
    )


@pytest.mark.parametrize("factor", [0.596, 2.494, -1.0])
def test_work_in_another_unit_has_the_inverse_slope(work, factor):
    right = free_energy.work_slope(*work).slope
    wrong = free_energy.work_slope(*(factor * side for side in work)).slope
    assert wrong == pytest.approx(right / factor, rel=1e-5)


@pytest.mark.costly
def test_the_score_of_right_work_is_standard_normal():
    """400 draws; mean and variance within four standard errors of 0 and 1."""
    rng = np.random.default_rng(1)
    found = [free_energy.work_slope(*draw(rng, 300, 200)).score for _ in range(400)]
    assert abs(np.mean(found)) < 4 / 20
    assert abs(np.var(found) - 1) < 4 * np.sqrt(2 / 400)
    assert max(np.abs(found)) < 5


def test_the_inefficiency_of_each_side_divides_its_score(work):
    """Repeated samples: of g equal copies, each is worth 1 / g."""
    forward, reverse = work
    copies = np.repeat(forward, 4), np.repeat(reverse, 9)
    found = free_energy.work_slope(*copies, statistical_inefficiency=[4, 9])
    assert found.score == pytest.approx(free_energy.work_slope(*work).score, rel=1e-3)
    assert abs(free_energy.work_slope(*copies).score) > 1.9 * abs(found.score)


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda f, r: (-f, -r), "a sign is wrong"),
        (lambda f, r: (-f, r), "a sign is wrong"),
        (lambda f, r: (0.596 * f, 0.596 * r), "kcal/mol"),
        (lambda f, r: (2.494 * f, 2.494 * r), "kJ/mol"),
        (lambda f, r: (4 * f, 4 * r), "correlated"),
    ],
)
def test_wrong_work_is_refused_with_its_cause(work, change, cause):
    free_energy.check_work(*work)
    with pytest.raises(ValueError, match=f"expected work that has the slope 1.*{cause}"):
        free_energy.check_work(*change(*work))


def test_windows_are_judged_each_for_itself(work):
    rng = np.random.default_rng(2)
    windows = [draw(rng, 700, 900), draw(rng, 900, 600), draw(rng, 600, 500)]
    forward, reverse = map(list, zip(*windows, strict=True))
    free_energy.check_work(forward, reverse)
    forward[1], reverse[1] = 4 * forward[1], 4 * reverse[1]
    found = free_energy.work_slope(forward, reverse)
    assert found.slope.shape == (3,)
    with pytest.raises(ValueError, match="in window 1, "):
        free_energy.check_work(forward, reverse)
    batch = free_energy.work_slope(*(jnp.asarray([side, side]) for side in work))
    np.testing.assert_allclose(batch.slope, free_energy.work_slope(*work).slope, rtol=1e-4)


def test_infinite_work_counts_as_certain_and_bad_work_has_no_slope(work):
    forward, reverse = work
    found = free_energy.work_slope(np.append(forward, np.inf), reverse)
    expected = free_energy.work_slope(*work)
    assert found.slope == pytest.approx(expected.slope, rel=1e-3)
    for value in (np.nan, -np.inf):
        assert np.isnan(free_energy.work_slope(np.append(forward, value), reverse)).all()
    assert np.isnan(free_energy.work_slope(forward + 500, reverse + 500)).all()  # no overlap


def test_few_effective_samples_say_nothing_about_a_slope():
    few = draw(np.random.default_rng(4), 20, 20, spread=3.0)
    assert nce_jax.bar(*few).status == nce_jax.Status.LOW_OVERLAP
    assert np.isnan(free_energy.work_slope(*few)).all()
    free_energy.check_work(*(-side for side in few))


def test_neighbor_work_is_the_difference_of_potentials():
    """Also past a state without samples, and of one table per state."""
    rng = np.random.default_rng(3)
    counts = np.array([30, 0, 20, 40])
    potentials = rng.normal(size=(4, 90))
    forward, reverse = free_energy.neighbor_work(potentials, counts)
    np.testing.assert_array_equal(forward[0], potentials[2, :30] - potentials[0, :30])
    np.testing.assert_array_equal(reverse[0], potentials[0, 30:50] - potentials[2, 30:50])
    np.testing.assert_array_equal(forward[1], potentials[3, 30:50] - potentials[2, 30:50])
    np.testing.assert_array_equal(reverse[1], potentials[2, 50:] - potentials[3, 50:])
    blocks = np.split(potentials, np.cumsum(counts)[:-1], axis=1)
    for side, other in zip(free_energy.neighbor_work(blocks), (forward, reverse), strict=True):
        for one, two in zip(side, other, strict=True):
            np.testing.assert_array_equal(one, two)


@pytest.mark.bad_input
def test_bad_arguments_are_named(work):
    forward, reverse = work
    with pytest.raises(ValueError, match="statistical_inefficiency: expected"):
        free_energy.work_slope(*work, statistical_inefficiency=0.5)
    with pytest.raises(ValueError, match="one per state, shape \\(2,\\)"):
        free_energy.check_work(*work, statistical_inefficiency=[1, 2, 3])
    with pytest.raises(ValueError, match="work_reverse: expected as many windows"):
        free_energy.work_slope([forward], [reverse, reverse])
    with pytest.raises(TypeError, match="work_forward"):
        free_energy.work_slope("work", reverse)
    with pytest.raises(ValueError, match="two states with samples"):
        free_energy.neighbor_work(np.zeros((2, 5)), [5, 0])
