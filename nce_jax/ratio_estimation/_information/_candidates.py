"""The log ratios that are tried: copulas, networks on top of them, and tables of few values."""

from typing import NamedTuple

import jax
import numpy as np

from nce_jax._numerics import host_products
from nce_jax._types import PRNGKeyArray
from nce_jax.ratio_estimation._information import _correction as correction
from nce_jax.ratio_estimation._information import _split
from nce_jax.ratio_estimation._information._copula import (
    GAUSSIAN,
    Copula,
    copula,
    degrees_of_freedom_of,
    has_ties,
    log_ratios,
    ranks,
    scatter,
    scores,
    unexplained,
)
from nce_jax.ratio_estimation._information._split import HeldOut, Split, held_out
from nce_jax.ratio_estimation._information._table import tables_of

MIN_FOR_NETWORK = 200
"""The smallest number of samples with which networks are trained. With so many, they found waves,
rings and parabolas in a plane within a tenth, where copulas find nothing."""

_ENOUGH_PER_COORDINATE = 50
"""With so many samples per coordinate a scatter matrix is not shrunk."""

_SHRINKAGES = (0.0, 0.1, 0.3, 0.6, 1.0)
"""Shares of the identity in a shrunk scatter matrix; 1 makes x and y independent."""

_RARE = 0.5
"""The share of a coordinate's mean square that the samples outside of a fold lack where its rare
values are all in the fold; with common values they lack none, give or take. Our choice."""

_PATIENCE = 3
"""Looks at the held-out loss without a new lowest value, after which a training ends."""


class Candidate(NamedTuple):
    """A log ratio by cross-fitting.

    Attributes:
      name: of the model.
      held_out: log ratios of held-out pairs.
      in_sample: mean log ratio of the pairs that the fits have seen.
      copulas: the copula of every fold; empty for a table.
      w: scores of x and y beside one another, (n, d_x + d_y).
      log_partition: F where it was solved for; None for a log ratio that is normalized.
    """

    name: str
    held_out: HeldOut
    in_sample: float
    copulas: list[Copula]
    w: np.ndarray
    log_partition: float | None = None

    @property
    def degrees_of_freedom(self) -> float:
        """Of the copula, also of the one that networks correct; inf for a Gaussian or none."""
        freedom = float(self.copulas[0].degrees_of_freedom) if self.copulas else GAUSSIAN
        return np.inf if freedom == GAUSSIAN else freedom

    @property
    def unexplained(self) -> float:
        """The smallest share of a variance of y that x does not explain; 1 if values are few."""
        if not self.copulas or has_ties(self.w):
            return 1.0
        return min(unexplained(params) for params in self.copulas)

    def terms(self) -> np.ndarray:
        """Terms of the held-out loss, one per sample, (folds, m)."""
        return self.held_out.terms(self.log_partition or 0.0)

    def loss(self) -> float:
        """The held-out loss, in nats."""
        return float(self.terms().mean())

    def normalized(self) -> "Candidate":
        """The same with F solved for."""
        return self._replace(log_partition=self.held_out.solved())


class Trained(NamedTuple):
    """Networks at the best step, and what led there.

    Attributes:
      candidate: log ratios by these networks; None where no step was better than the copula.
      best_step: the step of the lowest held-out loss.
      num_steps: steps made.
    """

    candidate: Candidate | None
    best_step: int
    num_steps: int


def best_copula(x: np.ndarray, y: np.ndarray, split: Split) -> Candidate:
    """The copula of the lowest held-out loss: Gaussian or t; of few samples or values, shrunk."""
    of_ranks, dim_x = ranks(np.concatenate([x, y], axis=1)), x.shape[1]
    count, dim = of_ranks.shape
    is_discrete = has_ties(of_ranks)
    is_shrunk = is_discrete or count < _ENOUGH_PER_COORDINATE * dim
    shrinkages = _SHRINKAGES if is_shrunk else _SHRINKAGES[:1]
    freedom, start = degrees_of_freedom_of(of_ranks)
    candidates = [
        candidate
        for value in dict.fromkeys((GAUSSIAN, freedom))
        for candidate in _copulas(of_ranks, dim_x, value, start, shrinkages, split)
    ]
    if is_discrete:
        # A copula's density has mass one over continuous margins, and not over a few values, among
        # which it is also too bold.
        candidates = [candidate.normalized() for candidate in candidates]
    return min(candidates, key=Candidate.loss)


def best_table(x: np.ndarray, y: np.ndarray, split: Split) -> Candidate | None:
    """The table of the lowest held-out loss; None where a side has many values."""
    candidates = [
        Candidate("table", held_out(values, split.shifts), in_sample, [], np.zeros((len(x), 0)))
        for values, in_sample in tables_of(x, y, split)
    ]
    return min(candidates, key=Candidate.loss, default=None)


def _copulas(
    of_ranks: np.ndarray,
    dim_x: int,
    freedom: float,
    start: np.ndarray,
    shrinkages: tuple[float, ...],
    split: Split,
) -> list[Candidate]:
    w = scores(of_ranks, freedom)
    matrices = [scatter(w[rows], freedom, start) for rows in split.training_rows()]
    if has_ties(of_ranks):
        spread = np.diag(scatter(w, freedom, start))
        matrices = [_with_rare_values(matrix, spread) for matrix in matrices]
    family = "gaussian copula" if freedom == GAUSSIAN else "t copula"
    return [
        _cross_fitted(
            family if share < 1 else "independent",
            [copula(_shrunk(matrix, share), dim_x, freedom) for matrix in matrices],
            w,
            dim_x,
            split,
        )
        for share in shrinkages
        if share < 1 or freedom == GAUSSIAN
    ]


def _with_rare_values(matrix: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """The matrix with the spread of coordinates whose rare values a fold has all to itself.

    Without them they are all but constant, and the rare values lie thousands of spreads away.
    """
    missing = spread - np.diag(matrix)
    return matrix + np.diag(np.where(missing > _RARE * spread, missing, 0))


def _shrunk(matrix: np.ndarray, share: float) -> np.ndarray:
    """The matrix with correlations made smaller; a share of 1 leaves none of x with y."""
    return matrix if share == 0 else (1 - share) * matrix + share * np.diag(np.diag(matrix))


@host_products
def _cross_fitted(
    name: str, copulas: list[Copula], w: np.ndarray, dim_x: int, split: Split
) -> Candidate:
    rows, columns = split.pairs()
    w_x, w_y = w[:, :dim_x], w[:, dim_x:]
    of_folds = zip(copulas, rows, columns, strict=True)
    values = np.stack([log_ratios(params, w_x[i], w_y[j]) for params, i, j in of_folds])
    seen = [
        log_ratios(params, w_x[i], w_y[i]).mean()
        for params, i in zip(copulas, split.training_rows(), strict=True)
    ]
    return Candidate(name, held_out(values, split.shifts), float(np.mean(seen)), copulas, w)


def train(
    key: PRNGKeyArray,
    start: Candidate,
    x: np.ndarray,
    y: np.ndarray,
    split: Split,
    max_training_steps: int,
) -> Trained:
    """Trains networks that correct a copula; the held-out loss of all folds chooses the step."""
    dims = x.shape[1], y.shape[1]
    problem = correction.make_problem(
        start.w[:, : dims[0]],
        start.w[:, dims[0] :],
        scores(ranks(x), GAUSSIAN),
        scores(ranks(y), GAUSSIAN),
        start.copulas,
        split.fold,
    )
    key_init, key_steps = jax.random.split(key)
    networks = correction.initial_networks(key_init, problem, dims)
    watched = split.pairs(_split.WATCHED)

    def of_pairs(params, pairs) -> HeldOut:
        return held_out(correction.log_ratios_of_pairs(params, problem, *pairs), split.shifts)

    lowest, best_step, best = of_pairs(networks.average, watched).loss(), 0, None
    step, every = 0, correction.STEPS_PER_ROUND
    while step < max_training_steps and step - best_step < _PATIENCE * every:
        key_round = jax.random.fold_in(key_steps, step)
        networks = correction.train_round(networks, problem, key_round)
        step += every
        loss = of_pairs(networks.average, watched).loss()
        if loss < lowest:
            lowest, best_step, best = loss, step, networks.average
    if best is None:
        return Trained(None, 0, step)
    seen = split.training_rows()
    return Trained(
        Candidate(
            "network",
            of_pairs(best, split.pairs()),
            float(correction.log_ratios_of_pairs(best, problem, seen, seen).mean()),
            start.copulas,
            start.w,
        ),
        best_step,
        step,
    )


def is_better(new: Candidate, old: Candidate) -> bool:
    """Whether the held-out loss is lower by a standard error of the difference."""
    gains = old.terms() - new.terms()
    return bool(gains.mean() > _split.standard_error(gains - gains.mean()))
