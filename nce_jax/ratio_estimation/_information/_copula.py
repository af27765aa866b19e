r"""Gaussian and Student-t copulas: their fit, and the log ratio of a pair to the two margins.

Both see the ranks of every coordinate alone. With w the quantiles of a t distribution with
:math:`\nu` degrees of freedom at these ranks, q the quadratic forms of the inverse of the scatter
matrix R and of its two blocks, and d the dimensions, the log ratio is

.. math::

   c - \tfrac{\nu + d}{2} \log(1 + q / \nu) + \tfrac{\nu + d_x}{2} \log(1 + q_x / \nu)
     + \tfrac{\nu + d_y}{2} \log(1 + q_y / \nu);

the Gaussian copula is the limit of many degrees of freedom.
"""

from typing import Any, NamedTuple

import numpy as np
from scipy.special import gammaln, ndtri, stdtrit

from nce_jax._numerics import host_products, matmul

GAUSSIAN = 1e9
"""Degrees of freedom at which the formula is that of the Gaussian copula to rounding."""

DEGREES_OF_FREEDOM = (GAUSSIAN, 50.0, 20.0, 10.0, 6.0, 4.0, 3.0, 2.0, 1.5, 1.0)
"""The values that are tried, in this order, until the likelihood falls."""

_TIED = 0.01
"""The share of pairs of samples that are equal in a column from which on it counts as discrete. The
value is our choice: rounding to a hundredth of the spread leaves a third of it."""

_ITERATIONS = 8
"""Iterations for a scatter matrix; each starts from that of the last number of degrees of freedom,
and they converge linearly, the faster the larger the dimension."""

_RIDGE = 1e-6
"""Added to the diagonal of a scatter matrix: coordinates that are functions of one another would
else have no inverse. It limits the estimate to about 7 nats per coordinate."""

RESOLVED = 10 * _RIDGE
"""The smallest share of a variance that the ridge leaves as it is, to a tenth of a nat."""


class Copula(NamedTuple):
    """Parameters of the log ratio; arrays with a leading axis for several fits.

    Attributes:
      joint_x: block of the inverse scatter matrix for x, (d_x, d_x).
      joint_y: block for y, (d_y, d_y).
      joint_xy: block of x with y, (d_x, d_y).
      of_x: inverse of the scatter matrix of x alone, (d_x, d_x).
      of_y: the same of y.
      constant: the constant c.
      degrees_of_freedom: of the t distribution.
      dim_x: number of coordinates of x, as a float.
      dim_y: number of coordinates of y, as a float.
    """

    joint_x: Any
    joint_y: Any
    joint_xy: Any
    of_x: Any
    of_y: Any
    constant: Any
    degrees_of_freedom: Any
    dim_x: Any
    dim_y: Any


def ranks(x: np.ndarray) -> np.ndarray:
    """Twice the average rank of every value in its column, from 1 to 2 n - 1, (n, d).

    The level of a value is its rank over 2 n. Ties have equal ranks.
    """
    columns = []
    for column in x.T:
        _, inverse, counts = np.unique(column, return_inverse=True, return_counts=True)
        columns.append((2 * np.cumsum(counts) - counts)[inverse])
    return np.stack(columns, axis=1)


def has_ties(of_ranks: np.ndarray) -> bool:
    """Whether a column has few values: two samples of it are equal with a chance of 1 in 100."""
    count = len(of_ranks)
    for column in of_ranks.T:
        equal = np.unique(column, return_counts=True)[1]
        if (equal * (equal - 1)).sum() > _TIED * count * (count - 1):
            return True
    return False


def scores(of_ranks: np.ndarray, degrees_of_freedom: float) -> np.ndarray:
    """Quantiles of a t distribution at the ranks: normal scores for many degrees of freedom."""
    levels = np.arange(1, 2 * len(of_ranks)) / (2 * len(of_ranks))
    if degrees_of_freedom == GAUSSIAN:
        return ndtri(levels)[of_ranks - 1]
    return stdtrit(degrees_of_freedom, levels)[of_ranks - 1]


@host_products
def scatter(w: np.ndarray, degrees_of_freedom: float, start: np.ndarray | None) -> np.ndarray:
    """The scatter matrix of maximum likelihood for given degrees of freedom, (d, d).

    The iteration is that of Kent, Tyler and Vardi, which normalizes by the sum of the weights.
    """
    dim, ridge = w.shape[1], _RIDGE * np.eye(w.shape[1])
    if degrees_of_freedom == GAUSSIAN:
        return w.T @ w / len(w) + ridge
    matrix = np.eye(dim) if start is None else start
    for _ in range(_ITERATIONS):
        squares = ((w @ np.linalg.inv(matrix)) * w).sum(axis=1)
        weights = 1 / (degrees_of_freedom + squares)
        matrix = (w * (weights / weights.sum())[:, None]).T @ w + ridge
    return matrix


def copula(matrix: np.ndarray, dim_x: int, degrees_of_freedom: float) -> Copula:
    """The log ratio of a scatter matrix."""
    x, y = slice(dim_x), slice(dim_x, None)
    joint = np.linalg.inv(matrix)
    dims = len(matrix), dim_x, len(matrix) - dim_x
    blocks = matrix, matrix[x, x], matrix[y, y]
    terms = [
        _log_constant(dim, degrees_of_freedom) - 0.5 * np.linalg.slogdet(block)[1]
        for dim, block in zip(dims, blocks, strict=True)
    ]
    return Copula(
        joint_x=joint[x, x],
        joint_y=joint[y, y],
        joint_xy=joint[x, y],
        of_x=np.linalg.inv(matrix[x, x]),
        of_y=np.linalg.inv(matrix[y, y]),
        constant=terms[0] - terms[1] - terms[2],
        degrees_of_freedom=degrees_of_freedom,
        dim_x=float(dims[1]),
        dim_y=float(dims[2]),
    )


def unexplained(params: Copula) -> float:
    """The smallest share of the variance of a linear combination of y's scores that is not x's.

    One less the largest squared canonical correlation.
    """
    shares = np.linalg.eigvals(np.linalg.solve(params.of_y, params.joint_y))
    return float(1 / shares.real.max())


def _log_constant(dim: int, degrees_of_freedom: float) -> float:
    """log of Gamma((nu + d) / 2) / Gamma(nu / 2) over its limit (nu / 2)^(d / 2)."""
    if degrees_of_freedom == GAUSSIAN:
        return 0.0
    half = degrees_of_freedom / 2
    return float(gammaln(half + dim / 2) - gammaln(half) - dim / 2 * np.log(half))


def log_ratios(params: Copula, w_x: Any, w_y: Any, numpy: Any = np) -> Any:
    """Log ratios of pairs of scores, (n, d_x) and (n, d_y) -> (n,), with NumPy or jax.numpy."""
    # In full precision on an accelerator too: quadratic forms of near-singular matrices cancel.
    product = np.matmul if numpy is np else matmul

    def form(w: Any, matrix: Any, other: Any) -> Any:
        return (product(w, matrix) * other).sum(axis=-1)

    squares_x, squares_y = form(w_x, params.of_x, w_x), form(w_y, params.of_y, w_y)
    joint = (
        form(w_x, params.joint_x, w_x)
        + form(w_y, params.joint_y, w_y)
        + 2 * form(w_x, params.joint_xy, w_y)
    )
    freedom = params.degrees_of_freedom

    def term(squares: Any, dim: Any) -> Any:
        # The quadratic form of a pair is rounded, and may be below zero.
        return (freedom + dim) / 2 * numpy.log1p(numpy.maximum(squares / freedom, 0))

    return (
        params.constant
        - term(joint, params.dim_x + params.dim_y)
        + term(squares_x, params.dim_x)
        + term(squares_y, params.dim_y)
    )


@host_products
def log_likelihood(w: np.ndarray, matrix: np.ndarray, degrees_of_freedom: float) -> float:
    """Mean log density of the copula at scores, with all coordinates as margins."""
    dim = w.shape[1]
    # The margins have the spread that the matrix gives them.
    w = w / np.sqrt(np.diag(matrix))
    spread = np.sqrt(np.diag(matrix))
    matrix = matrix / (spread[:, None] * spread[None])
    squares = ((w @ np.linalg.inv(matrix)) * w).sum(axis=1)

    def log_density(squares: np.ndarray, dim: int) -> np.ndarray:
        heavy = (degrees_of_freedom + dim) / 2 * np.log1p(squares / degrees_of_freedom)
        return _log_constant(dim, degrees_of_freedom) - heavy

    joint = log_density(squares, dim) - 0.5 * np.linalg.slogdet(matrix)[1]
    return float(np.mean(joint - log_density(np.square(w), 1).sum(axis=1)))


def degrees_of_freedom_of(of_ranks: np.ndarray) -> tuple[float, np.ndarray]:
    """The degrees of freedom of the largest likelihood, down the list, and the scatter matrix."""
    best, matrix = (-np.inf, GAUSSIAN, np.eye(of_ranks.shape[1])), None
    for freedom in DEGREES_OF_FREEDOM:
        w = scores(of_ranks, freedom)
        matrix = scatter(w, freedom, matrix)
        likelihood = log_likelihood(w, matrix, freedom)
        if not likelihood > best[0]:
            break
        best = likelihood, freedom, matrix
    return best[1], best[2]
