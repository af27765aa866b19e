"""Groups and blocks of samples are held out as a whole; signs of dependent samples are reported."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import datasets

from nce_jax._dependence import signs_of_dependence, signs_without_groups
from nce_jax._folds import _check_folds, as_groups, make_folds
from nce_jax.ratio_estimation import UnreliableRatioWarning, fit_log_ratio
from nce_jax.ratio_estimation._models import have_both_sets, make_parts
from nce_jax.ratio_estimation._samples import Sets

KEY = jax.random.key(0)


def persons(rng, count, visits=20, spread=0.05):
    """Visits of persons, in the order of the persons: (count * visits, 5)."""
    person = rng.normal(size=(count, 1, 5))
    return (person + spread * rng.normal(size=(count, visits, 5))).reshape(-1, 5)


def folds_of(groups, held_out=0.2, seed=0):
    return make_folds(np.random.default_rng(seed), groups, held_out)


@pytest.mark.parametrize("seed", range(5))
def test_a_group_is_in_one_fold_in_both_sets(seed):
    rng = np.random.default_rng(seed)
    labels = rng.choice(["anna", "bo", "cy", "dan", "eve", "flo", "gus", "hal"], 300)
    groups = as_groups(labels, labels[::-1][:200], None, (300, 200))
    sides = folds_of(groups, seed=seed)
    fold_of = {}
    for label, fold in zip(
        [*labels, *labels[::-1][:200]], np.concatenate([side.fold for side in sides]), strict=True
    ):
        assert fold_of.setdefault(label, fold) == fold
    assert len(set(fold_of.values())) == 5


def test_labels_of_one_set_alone_leave_the_other_independent():
    data, noise = as_groups(np.repeat([7, 3, 9, 1], 5), None, None, (20, 30))
    assert len(np.unique(data)) == 4
    assert len(np.unique(noise)) == 30
    assert not np.isin(noise, data).any()


def test_blocks_are_consecutive_samples():
    data, noise = as_groups(None, None, 8, (40, 36))
    np.testing.assert_array_equal(np.unique(data, return_counts=True)[1], [8] * 5)
    np.testing.assert_array_equal(np.unique(noise, return_counts=True)[1], [8, 8, 8, 8, 4])
    assert not np.isin(noise, data).any()


@pytest.mark.parametrize(("held_out", "num_folds"), [(0.2, 5), (0.1, 10), (0.5, 3), (0.01, 10)])
def test_fold_0_has_the_share_that_is_held_out(held_out, num_folds):
    sides = folds_of(as_groups(None, None, None, (1000, 500)), held_out)
    for side, size in zip(sides, (1000, 500), strict=True):
        counts = np.bincount(side.fold)
        assert len(counts) == num_folds
        assert counts[0] == max(round(held_out * size), 4)
        assert np.ptp(counts[1:]) <= 1


def test_unequal_groups_make_folds_of_about_equal_size():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(60), rng.integers(1, 40, 60))
    sides = folds_of(as_groups(labels, None, None, (len(labels), 500)))
    for side in sides:
        shares = np.bincount(side.fold) / len(side.fold)
        assert abs(shares - 0.2).max() < 0.03


def test_the_parts_of_a_training_share_no_group():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 40, 900)
    groups = as_groups(labels[:500], labels[500:], None, (500, 400))
    sets = Sets(*(jnp.asarray(side[:, None], jnp.float32) for side in groups))
    parts, rows = make_parts(rng, sets, folds_of(groups), num_choices=3)
    ids = [
        set(np.concatenate([np.ravel(side) for side in part]))
        for part in (parts.train, parts.select, parts.held_out)
    ]
    assert len(ids[0] | ids[1] | ids[2]) == sum(len(part) for part in ids)
    assert sum(len(side) for part in parts[:3] for side in part) == 900
    assert (sum(rows) == 1).all()
    for weights in parts.choices:
        np.testing.assert_array_equal(weights[1] + weights[2], weights[0])


@pytest.mark.costly
@pytest.mark.parametrize("name", ["groups_data", "block_size"])
def test_repeated_measurements_do_not_pass_as_a_ratio(name):
    """20 visits each of 50 persons in both sets, all of one population: the ratio is 1. By rows the
    area under the curve would be 1; groups are held out with their visits.
    """
    rng = np.random.default_rng(0)
    x, y, person = persons(rng, 50), persons(rng, 50), np.repeat(np.arange(50), 20)
    options = {"groups_data": person, "groups_noise": person + 50}
    options = {"block_size": 20} if name == "block_size" else options
    with pytest.warns(UnreliableRatioWarning) as caught:
        estimate = fit_log_ratio(KEY, x, y, progress=False, **options)
    assert "occur" not in str(caught[0].message)
    assert estimate.signs_of_dependence == ()
    assert abs(estimate.roc.area - 0.5) < 0.2
    assert not estimate.is_reliable


@pytest.mark.costly
def test_without_groups_repeated_measurements_are_reported():
    rng = np.random.default_rng(0)
    with pytest.warns(UnreliableRatioWarning, match="pass groups_data and groups_noise or block"):
        estimate = fit_log_ratio(KEY, persons(rng, 30), persons(rng, 30), progress=False)
    assert len(estimate.signs_of_dependence) >= 2


def autoregressive(rng, correlation, count=1500, dim=3):
    x, steps = np.zeros((count, dim)), rng.normal(size=(count, dim))
    for index in range(1, count):
        x[index] = correlation * x[index - 1] + np.sqrt(1 - correlation**2) * steps[index]
    return x


RNG = np.random.default_rng(1)
SHUFFLED = persons(RNG, 300, visits=5)[RNG.permutation(1500)]
DEPENDENT = {
    "visits in order": persons(RNG, 75),
    "visits in order, spread": persons(RNG, 300, visits=5, spread=0.5),
    "shuffled visits": SHUFFLED,
    "chain": autoregressive(RNG, 0.95),
    "oversampled": RNG.normal(size=(1000, 3))[RNG.integers(0, 1000, 1200)],
    "few repeated": np.concatenate([SHUFFLED[:300], SHUFFLED[:30]]),
    "oversampled, three decimals": np.round(RNG.normal(size=(300, 1)), 3)[
        RNG.integers(0, 300, 300)
    ],
}
INDEPENDENT = {
    **{f"normal {dim}-D": RNG.normal(size=(1500, dim)) for dim in (1, 2, 5, 50)},
    "heavy tails": RNG.standard_t(2, size=(1500, 5)),
    "log normal": np.exp(2 * RNG.normal(size=(1500, 5))),
    "scales": RNG.normal(size=(1500, 3)) * np.exp(1.5 * RNG.normal(size=(1500, 1))),
    "surface": datasets.make_swiss_roll(1500, noise=0.1, random_state=0)[0],
    "clusters": datasets.make_blobs(1500, 5, centers=10, cluster_std=0.3, random_state=0)[0],
    "counts": RNG.poisson(2, size=(1500, 3)).astype(float),
    "categories": np.eye(5)[RNG.integers(0, 5, 1500)],
    "rounded": np.round(RNG.normal(size=(1500, 2)), 1),
    "three decimals": np.round(RNG.normal(size=(300, 1)), 3),
    "age and sex": np.stack([np.round(RNG.normal(50, 15, 300), 1), RNG.integers(0, 2, 300)], 1),
    "far from zero in float32": (1e4 + RNG.normal(size=(300, 1))).astype(np.float32),
    "steep at zero": RNG.gamma(0.2, size=(170, 1)),
    "atom": RNG.normal(size=(1500, 1)) * (RNG.uniform(size=(1500, 1)) < 0.6),
    "atom, rounded": np.round(RNG.normal(size=(170, 1)), 3) * (RNG.uniform(size=(170, 1)) < 0.6),
    "iris": datasets.load_iris().data[RNG.permutation(150)],
    "iris in order": datasets.load_iris().data,
    "breast cancer": datasets.load_breast_cancer().data,
    "digits": datasets.load_digits().data,
    "diabetes": datasets.load_diabetes().data,
    "few": RNG.normal(size=(20, 2)),
    "labels": RNG.integers(0, 5, (1500, 1)).astype(float),
    "few counts": RNG.poisson(2, (50, 1)).astype(float),
    "doses": RNG.choice([0.0, 1, 5, 25, 125, 625], (1500, 1)),
    "constant": np.ones((100, 2)),
}


@pytest.mark.parametrize("name", DEPENDENT)
def test_dependent_samples_are_seen(name):
    signs = signs_of_dependence("x", DEPENDENT[name])
    assert signs
    assert all(sign.startswith("x: ") for sign in signs)


@pytest.mark.parametrize("name", INDEPENDENT)
def test_independent_samples_raise_no_alarm(name):
    assert signs_of_dependence("x", INDEPENDENT[name]) == []


@pytest.mark.costly
def test_alarms_are_rare():
    """At most one of 600 sets of independent samples, of 40 to 1,500 samples in 1 to 10
    dimensions.
    """
    rng = np.random.default_rng(2)
    alarms = 0
    for _ in range(600):
        size, dim = round(40 * np.exp(rng.uniform() * 3.6)), rng.integers(1, 11)
        alarms += bool(
            signs_of_dependence("x", rng.normal(size=(size, dim)) @ rng.normal(size=(dim, dim)))
        )
    assert alarms <= 1


@pytest.mark.bad_input
def test_folds_without_samples_of_one_set_are_named():
    with pytest.raises(ValueError, match="groups_noise: expected groups .* into 3 folds .* got 1"):
        _check_folds([np.array([0, 1, 2]), np.array([0, 2, 2])], 3)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"groups_data": np.arange(19)}, "groups_data: expected one label per sample, shape"),
        ({"groups_noise": np.zeros((20, 1))}, "groups_noise: expected one label per sample"),
        ({"groups_data": np.arange(20) % 3}, "groups_data: expected at least 4 groups or blocks"),
        ({"groups_data": [None] * 20}, "groups_data: expected a label for every sample, got 20"),
        ({"groups_data": np.full(20, np.nan)}, "groups_data: expected a label for every sample"),
        ({"groups_data": np.arange(20), "block_size": 2}, "block_size: expected None with groups_"),
        ({"block_size": 10}, "expected at least 4 groups or blocks, of which some are held out"),
        ({"block_size": 0}, "block_size: expected at least 1"),
    ],
)
def test_bad_groups_are_named(options, message):
    x = np.random.default_rng(0).normal(size=(2, 20, 2))
    with pytest.raises(ValueError, match=message):
        fit_log_ratio(KEY, *x, progress=False, **options)


def test_groups_of_one_set_leave_the_alarm_of_the_other():
    rows = jnp.asarray(np.repeat(np.random.default_rng(0).normal(size=(20, 3)), 10, axis=0))
    sets = {"x_data": rows, "x_noise": rows + 1}
    for grouped in ([], ["x_data"], ["x_noise"], ["x_data", "x_noise"]):
        is_grouped = {name: name in grouped for name in sets}
        named = {sign.partition(":")[0] for sign in signs_without_groups(sets, is_grouped)}
        assert named == set(sets) - set(grouped)


def test_a_sample_of_each_set_with_one_label_is_one_group():
    groups = as_groups(np.arange(200), np.arange(200)[::-1], None, (200, 200))
    data, noise = folds_of(groups)
    np.testing.assert_array_equal(data.fold, noise.fold[::-1])
    np.testing.assert_array_equal(np.bincount(data.fold), [40] * 5)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("shift", [0, 4, 12], ids=["shared", "some shared", "apart"])
def test_both_halves_that_judge_a_network_have_both_sets(shift, seed):
    """Of groups so large that two or three of them make a fold."""
    labels = np.repeat(np.arange(12), 500)
    groups = as_groups(labels, labels + shift, None, (6000, 6000))
    sets, sides = Sets(*[jnp.zeros((6000, 1))] * 2), folds_of(groups, 0.3, seed)
    parts, _ = make_parts(np.random.default_rng(seed), sets, sides, num_choices=3)
    assert have_both_sets(parts)


@pytest.mark.costly
def test_without_groups_for_two_halves_no_network_is_trained(monkeypatch):
    monkeypatch.setattr("nce_jax.ratio_estimation._fit.MIN_FOR_NETWORK", 50)
    rng, labels = np.random.default_rng(0), np.repeat(np.arange(5), 10)
    x, y = rng.normal(1, 1, (50, 2)), rng.normal(size=(50, 2))
    with pytest.warns(UnreliableRatioWarning):
        estimate = fit_log_ratio(KEY, x, y, groups_data=labels, groups_noise=labels + 5)
    assert estimate.model in ("constant", "linear", "squares", "quadratic", "kernels")
    assert estimate.result.state is None
