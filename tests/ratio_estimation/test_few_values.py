"""Mutual information of few values, as of labels and counts: tables, and copulas of such values."""

import jax
import numpy as np
import pytest
import scipy.special

import nce_jax
from nce_jax.ratio_estimation._information import _candidates, _copula, _split, _table

KEY = jax.random.key(0)


def of_cells(table):
    """The mutual information of a table of probabilities."""
    table = np.asarray(table) / np.sum(table)
    product = table.sum(axis=1, keepdims=True) * table.sum(axis=0)
    return float(scipy.special.rel_entr(table, product).sum())


def pairs_of_cells(seed, table, count):
    """Pairs of labels with these probabilities."""
    table = np.asarray(table) / np.sum(table)
    cells = np.random.default_rng(seed).choice(table.size, count, p=table.ravel())
    return tuple(side[:, None] for side in np.unravel_index(cells, table.shape))


PERMUTED = 0.2 / 30 + 0.8 * np.eye(30)[np.random.default_rng(0).permutation(30)]
TABLES = {
    "two coins": ([[4, 1], [1, 4]], 400),
    "the middle one": ([[9, 1], [1, 9], [9, 1]], 300),
    "a tent": ([[0.8 * (j == abs(i - 2)) + 0.07 for j in range(3)] for i in range(5)], 200),
    "thirty labels": (PERMUTED, 1_500),
}


@pytest.mark.parametrize("name", TABLES)
def test_labels_need_no_order(name):
    """Seed 0, within three standard errors (k = 3). The copulas see 0 nats of the last three."""
    table, count = TABLES[name]
    x, y = pairs_of_cells(0, table, count)
    found = nce_jax.mutual_information(KEY, x, y, max_training_steps=100)
    assert found.model == "table"
    assert found.is_reliable
    assert abs(found.value - of_cells(table)) < 3 * found.standard_error
    assert abs(found.value - of_cells(table)) < max(0.1, 0.1 * of_cells(table))


def test_the_error_of_a_table_covers():
    """Two coins, 200 pairs, 200 seeds: 95 per cent lie within 1.96 standard errors, of which 9 are
    three standard deviations (k = 3). The spread of a shrunk copula covered 123.
    """
    truth = of_cells(TABLES["two coins"][0])
    found = [
        nce_jax.mutual_information(KEY, *pairs_of_cells(seed, TABLES["two coins"][0], 200))
        for seed in range(200)
    ]
    num_covered = sum(abs(one.value - truth) < 1.96 * one.standard_error for one in found)
    assert num_covered >= 190 - 9
    assert {one.model for one in found} == {"table"}


def test_a_table_is_normalized_and_has_the_ratios_of_its_counts():
    x, y = pairs_of_cells(0, PERMUTED[:6, :6], 300)
    parts = _split.split(np.random.default_rng(0), 300, 3)
    rows, columns = np.meshgrid(np.arange(300), np.arange(300), indexing="ij")
    train = parts.training_rows()[0]
    quotients = _table._quotients(x[train, 0], y[train, 0], 6, 6)
    inside = np.isin(rows, train) & np.isin(columns, train)
    ratios = quotients[x[rows, 0], y[columns, 0]][inside]
    assert ratios.mean() == pytest.approx(1)
    both = (x[train, 0] == 2) & (y[train, 0] == 1)
    alone = (x[train, 0] == 2).mean() * (y[train, 0] == 1).mean()
    assert quotients[2, 1] == pytest.approx(both.mean() / alone)
    many = list(_table.tables_of(np.arange(300)[:, None], y, parts))
    assert many == []


@pytest.mark.parametrize("seed", range(3))
def test_a_rare_value_hides_nothing(seed):
    """One sample of 900 has another label: its fold saw a constant, and 0 to 0.2 nats were left."""
    generator = np.random.default_rng(seed)
    x = generator.standard_normal((900, 1))
    y = 0.7 * x + np.sqrt(1 - 0.7**2) * generator.standard_normal((900, 1))
    wider = np.concatenate([x, np.arange(900)[:, None] == 17], axis=1)
    found = nce_jax.mutual_information(KEY, wider, y, max_training_steps=100)
    assert abs(found.value + np.log(1 - 0.7**2) / 2) < 3 * found.standard_error


@pytest.mark.parametrize("seed", range(3))
def test_a_copula_of_few_values_is_normalized(seed):
    """Coins that agree in 98 of 100 cases: the copula's density alone would give 1.27 nats."""
    generator = np.random.default_rng(seed)
    x = generator.integers(0, 2, (900, 1))
    y = np.where(generator.random((900, 1)) < 0.02, 1 - x, x)
    truth = np.log(2) + 0.98 * np.log(0.98) + 0.02 * np.log(0.02)
    copula = _candidates.best_copula(x, y, _split.split(generator, 900, 5))
    value = copula.held_out.joint.mean() - copula.log_partition
    assert copula.log_partition > 0.5
    assert truth - 0.1 < value < truth + 0.06
    assert copula.loss() < 1.386


def test_few_values_are_told_from_rounded_ones():
    generator = np.random.default_rng(0)
    z = generator.standard_normal((900, 2))
    for column, expected in ((z[:, 0], False), (np.round(z[:, 0], 2), False), (z[:, 0] > 1, True)):
        x = np.stack([column, z[:, 1]], axis=1)
        assert _copula.has_ties(_copula.ranks(x)) is expected
