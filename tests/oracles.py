"""References in float64 NumPy, written from the formulas and not from the library.

The root of the stationarity equation is the delicate one: where no sample lies near it, the sums
that define it are constant to double precision. `root` therefore counts in exact rational
arithmetic and leaves to floating point only sums of small positive terms;
`root_in_extended_precision` takes the equation as it stands, with as many digits as the range of
the samples asks for. tests/log_partition/test_oracle.py holds one against the other.
"""

import math
from fractions import Fraction
from itertools import accumulate

import mpmath
import numpy as np


def softplus(x):
    return np.logaddexp(0, x)


def log_sigmoid(x):
    return -np.logaddexp(0, -x)


def sigmoid(x):
    return np.exp(log_sigmoid(x))


def log_sum_exp(x) -> float:
    return float(np.logaddexp.reduce(x, initial=-np.inf))


def shares(values, weights=None):
    """Weights that sum to one."""
    weights = np.ones(np.shape(values)) if weights is None else np.asarray(weights, np.float64)
    return weights / weights.sum()


def mean(values, weights=None) -> float:
    return float(shares(values, weights) @ values)


def counted(values, weights=None):
    """Values and weights in float64, without the samples of weight zero."""
    values = np.asarray(values, np.float64)
    weights = np.ones(len(values)) if weights is None else np.asarray(weights, np.float64)
    return values[weights != 0], weights[weights != 0]


# ---- losses --------------------------------------------------------------------------------------


def nce_loss(
    data, noise, *, log_partition=0.0, kappa=1.0, weights_data=None, weights_noise=None
) -> float:
    """L = E_data[softplus(log kappa - u)] + kappa E_noise[softplus(u - log kappa)], u = s - F."""
    (data, weights_data), (noise, weights_noise) = (
        counted(data, weights_data),
        counted(noise, weights_noise),
    )
    of_data = softplus(math.log(kappa) - (data - log_partition))
    of_noise = softplus((noise - log_partition) - math.log(kappa))
    return mean(of_data, weights_data) + kappa * mean(of_noise, weights_noise)


def exponential_nce_loss(
    data, noise, *, log_partition=0.0, weights_data=None, weights_noise=None
) -> float:
    """L = E_data[exp(-u / 2)] / 2 + E_noise[exp(u / 2)] / 2."""
    (data, weights_data), (noise, weights_noise) = (
        counted(data, weights_data),
        counted(noise, weights_noise),
    )
    of_data = mean(np.exp((log_partition - data) / 2), weights_data)
    return (of_data + mean(np.exp((noise - log_partition) / 2), weights_noise)) / 2


def exponential_log_partition(data, noise, *, weights_data=None, weights_noise=None) -> float:
    """F* = log(E_noise[exp(s / 2)] / E_data[exp(-s / 2)])."""
    (data, weights_data), (noise, weights_noise) = (
        counted(data, weights_data),
        counted(noise, weights_noise),
    )
    log_mean_noise = log_sum_exp(noise / 2 + np.log(shares(noise, weights_noise)))
    return log_mean_noise - log_sum_exp(-data / 2 + np.log(shares(data, weights_data)))


def nwj_loss(data, noise, *, log_partition=0.0, weights_data=None, weights_noise=None) -> float:
    """L = -E_data[u] + E_noise[exp(u)] - 1."""
    (data, weights_data), (noise, weights_noise) = (
        counted(data, weights_data),
        counted(noise, weights_noise),
    )
    return (
        mean(np.exp(noise - log_partition), weights_noise)
        - mean(data - log_partition, weights_data)
        - 1
    )


def donsker_varadhan_loss(data, noise, *, weights_data=None, weights_noise=None) -> float:
    """L = -(E_data[s] - log E_noise[exp(s)])."""
    return importance_log_partition(noise, weights_noise) - mean(*counted(data, weights_data))


def least_squares_loss(
    data, noise, *, log_partition=0.0, weights_data=None, weights_noise=None
) -> float:
    """L = E_noise[r^2] / 2 - E_data[r], r = exp(u)."""
    (data, weights_data), (noise, weights_noise) = (
        counted(data, weights_data),
        counted(noise, weights_noise),
    )
    of_noise = mean(np.exp(2 * (noise - log_partition)), weights_noise)
    return of_noise / 2 - mean(np.exp(data - log_partition), weights_data)


def least_squares_log_partition(data, noise, *, weights_data=None, weights_noise=None) -> float:
    """F* = log(E_noise[exp(2 s)] / E_data[exp(s)])."""
    (data, weights_data), (noise, weights_noise) = (
        counted(data, weights_data),
        counted(noise, weights_noise),
    )
    log_mean_square = log_sum_exp(2 * noise + np.log(shares(noise, weights_noise)))
    return log_mean_square - log_sum_exp(data + np.log(shares(data, weights_data)))


def ratio_regularized_loss(
    data, noise, *, strength, log_partition, kappa=1.0, weights_data=None, weights_noise=None
) -> float:
    """The NCE loss plus strength * (E_data[u^2] + E_noise[u^2])."""
    weights = {"weights_data": weights_data, "weights_noise": weights_noise}
    base = nce_loss(data, noise, log_partition=log_partition, kappa=kappa, **weights)
    (data, weights_data), (noise, weights_noise) = (
        counted(data, weights_data),
        counted(noise, weights_noise),
    )
    squares = mean((data - log_partition) ** 2, weights_data) + mean(
        (noise - log_partition) ** 2, weights_noise
    )
    return base + strength * squares


# ---- the root ------------------------------------------------------------------------------------


def bisect(is_below_root, lower: float, upper: float) -> float:
    """The point where the predicate turns false, to the last bits of float64."""
    assert is_below_root(lower)
    assert not is_below_root(upper)
    while True:
        middle = lower + (upper - lower) / 2
        if not lower < middle < upper:
            return middle
        if is_below_root(middle):
            lower = middle
        else:
            upper = middle


class _Side:
    """Sorted samples, with the exact share of those below any rank."""

    def __init__(self, values, weights, origin: float):
        values, weights = counted(values, weights)
        order = np.argsort(values)
        self.values = values[order] - origin
        self.log_shares = np.log(shares(values, weights)[order])
        exact = [Fraction(float(w)) for w in weights[order]]
        scale = math.lcm(*(w.denominator for w in exact))
        self.cumulative = [0, *accumulate(int(w * scale) for w in exact)]

    def share_below(self, rank: int) -> Fraction:
        return Fraction(self.cumulative[rank], self.cumulative[-1])

    def log_tails(self, rank: int, distance):
        """Logs of the mean of sigma(-|d|) over the samples below and above the rank."""
        terms = self.log_shares + log_sigmoid(-np.abs(distance))
        return log_sum_exp(terms[:rank]), log_sum_exp(terms[rank:])


def _log_positive(value: Fraction) -> float:
    return math.log(value) if value > 0 else -math.inf


def root(data, noise, *, kappa=1, weights_data=None, weights_noise=None) -> float:
    """The F that solves E_data[sigma(log kappa - u)] = kappa E_noise[sigma(u - log kappa)], for
    `kappa` taken exactly.

    With b = F + log kappa and d_k = b - s_k both sides are sums of steps [d > 0] and of tails
    -sign(d) sigma(-|d|).
    """
    kappa = Fraction(kappa)
    log_kappa = math.log(kappa)
    # So that a common offset costs no digits.
    origin = float(np.median(counted(data, weights_data)[0]))
    sides = _Side(data, weights_data, origin), _Side(noise, weights_noise, origin)

    def is_below_root(log_partition: float) -> bool:
        distances = [(log_partition - side.values) + log_kappa for side in sides]
        ranks = [int(np.count_nonzero(distance > 0)) for distance in distances]
        steps = sides[0].share_below(ranks[0]) - kappa * (1 - sides[1].share_below(ranks[1]))
        tails = [
            side.log_tails(rank, d) for side, rank, d in zip(sides, ranks, distances, strict=True)
        ]
        below = np.logaddexp(tails[0][0], log_kappa + tails[1][0])
        above = np.logaddexp(tails[0][1], log_kappa + tails[1][1])
        return bool(
            np.logaddexp(above, _log_positive(steps)) < np.logaddexp(below, _log_positive(-steps))
        )

    pool = np.concatenate([side.values for side in sides])
    return origin + bisect(is_below_root, pool.min() - 1, pool.max() + 1)


def root_in_extended_precision(
    data, noise, *, kappa=1, weights_data=None, weights_noise=None
) -> float:
    """The same root from the unsplit equation, mean sigma(b - s) over data = kappa mean sigma(s -
    b) over noise.
    """
    sides = [counted(data, weights_data), counted(noise, weights_noise)]
    span = max(values.max() for values, _ in sides) - min(values.min() for values, _ in sides)
    with mpmath.workdps(40 + int(span / math.log(10))):
        kappa = mpmath.mpf(Fraction(kappa).numerator) / Fraction(kappa).denominator
        pairs = [
            [(mpmath.mpf(float(s)), mpmath.mpf(float(w))) for s, w in zip(*side, strict=True)]
            for side in sides
        ]
        totals = [mpmath.fsum(w for _, w in side) for side in pairs]

        def is_below_root(log_partition: float) -> bool:
            b = log_partition + mpmath.log(kappa)
            p = mpmath.fsum(w / (1 + mpmath.exp(s - b)) for s, w in pairs[0]) / totals[0]
            q = mpmath.fsum(w / (1 + mpmath.exp(b - s)) for s, w in pairs[1]) / totals[1]
            return p < kappa * q

        everything = np.concatenate([values for values, _ in sides])
        return bisect(is_below_root, float(everything.min()) - 1, float(everything.max()) + 1)


def ratio_regularized_root(
    data, noise, *, strength, kappa=1.0, weights_data=None, weights_noise=None
) -> float:
    """The F at which mean sigma(log kappa - u) - kappa mean sigma(u - log kappa) + 2 strength (2 F
    - both means of s) = 0.

    The regularizer's slope keeps the equation from being constant anywhere: as it stands it is good
    to rounding.
    """
    (data, weights_data), (noise, weights_noise) = (
        counted(data, weights_data),
        counted(noise, weights_noise),
    )
    means = mean(data, weights_data) + mean(noise, weights_noise)

    def is_below_root(log_partition: float) -> bool:
        p, q = probabilities(data, noise, log_partition, kappa)
        return (
            mean(p, weights_data)
            - kappa * mean(q, weights_noise)
            + 2 * strength * (2 * log_partition - means)
            < 0
        )

    pool = np.concatenate([data, noise])
    return bisect(is_below_root, pool.min() - 1, pool.max() + 1)


# ---- what the root is worth ----------------------------------------------------------------------


def probabilities(data, noise, log_partition, kappa):
    """P_i = sigma(log kappa - u(x_i)) and Q_j = sigma(u(y_j) - log kappa)."""
    data, noise = np.asarray(data, np.float64), np.asarray(noise, np.float64)
    return sigmoid(math.log(kappa) - (data - log_partition)), sigmoid(
        (noise - log_partition) - math.log(kappa)
    )


def root_gradient(data, noise, log_partition, kappa=1.0, weights_data=None, weights_noise=None):
    """dF*/ds of data and noise: sigma' of every pooled sample, weighted and normalized."""
    p, q = probabilities(data, noise, log_partition, kappa)
    pulls = shares(p, weights_data) * p * (1 - p), kappa * shares(q, weights_noise) * q * (1 - q)
    total = pulls[0].sum() + pulls[1].sum()
    return pulls[0] / total, pulls[1] / total


def overlap(data, noise, log_partition, kappa=1.0, weights_data=None) -> float:
    """O = (1 + kappa) / kappa * E_data[sigma(log kappa - u)]."""
    p, _ = probabilities(data, noise, log_partition, kappa)
    return (1 + kappa) / kappa * mean(p, weights_data)


def _block_variance(influences, weights, block_size: int) -> float:
    starts = range(0, len(influences), block_size)
    sums = np.array([influences[i : i + block_size].sum() for i in starts])
    blocks = np.array([weights[i : i + block_size].sum() for i in starts])
    return float(np.square(sums).sum() / (1 - np.square(blocks).sum()))


def standard_error(
    data, noise, log_partition, kappa=1.0, weights_data=None, weights_noise=None, block_size=1
) -> float:
    """[Var(P) / n + kappa^2 Var(Q) / m] / [E P(1 - P) + kappa E Q(1 - Q)]^2, square-rooted.

    Var is the unbiased sample variance (n - 1 below), the usual estimate of the population's. With
    weights, or with blocks, Var(P) / n is the sum of squares of (sums over blocks of) share * (P -
    mean P), over one minus the sum of squared shares.
    """
    p, q = probabilities(data, noise, log_partition, kappa)
    share_p, share_q = shares(p, weights_data), shares(q, weights_noise)
    slope = share_p @ (p * (1 - p)) + kappa * share_q @ (q * (1 - q))
    variance = _block_variance(share_p * (p - share_p @ p), share_p, block_size)
    variance += kappa**2 * _block_variance(share_q * (q - share_q @ q), share_q, block_size)
    return math.sqrt(variance) / slope


def kish(log_weights) -> float:
    """(sum w)^2 / sum w^2."""
    log_weights = np.asarray(log_weights, np.float64)
    return math.exp(2 * log_sum_exp(log_weights) - log_sum_exp(2 * log_weights))


def importance_log_partition(noise, weights=None) -> float:
    """log E_noise[exp(s)]."""
    noise, weights = counted(noise, weights)
    return log_sum_exp(noise + np.log(shares(noise, weights)))


def importance_standard_error(noise) -> float:
    """Standard deviation of the weights over sqrt(m) times their mean."""
    relative = np.exp(np.asarray(noise, np.float64) - importance_log_partition(noise))
    return float(np.std(relative, ddof=1) / math.sqrt(len(relative)))


def bar(work_forward, work_reverse) -> float:
    """delta_f from Bennett's equation on work values, sum_F f(M + w_F - delta_f) = sum_R f(-M + w_R
    + delta_f).
    """
    forward, reverse = np.asarray(work_forward, np.float64), np.asarray(work_reverse, np.float64)
    log_ratio = math.log(len(forward) / len(reverse))

    def is_below_root(delta_f: float) -> bool:
        accepted = sigmoid(delta_f - log_ratio - forward).sum()
        return bool(accepted < sigmoid(log_ratio - delta_f - reverse).sum())

    ends = np.concatenate([forward, -reverse])
    return bisect(is_below_root, ends.min() - 1, ends.max() + 1)


def bar_standard_error(work_forward, work_reverse, delta_f: float) -> float:
    """Bennett's eq. 10a: <f^2> / (m <f>^2) - 1 / m of the forward side, and the same of the reverse
    side.
    """
    log_ratio = math.log(len(work_forward) / len(work_reverse))
    accepted = (
        sigmoid(delta_f - log_ratio - np.asarray(work_forward, np.float64)),
        sigmoid(log_ratio - delta_f - np.asarray(work_reverse, np.float64)),
    )
    return math.sqrt(sum((np.mean(f**2) / np.mean(f) ** 2 - 1) / len(f) for f in accepted))


def bar_chain_covariance(work_forward, work_reverse, inefficiencies=None):
    """delta_f of all windows and their joint covariance, window by window, from eq. 10a and the
    products of the influences of the same configurations.
    """
    num_windows = len(work_forward)
    g = np.ones(num_windows + 1) if inefficiencies is None else inefficiencies
    values = np.array([bar(*sides) for sides in zip(work_forward, work_reverse, strict=True)])
    covariance, sides = np.zeros((num_windows, num_windows)), []
    for k, value in enumerate(values):
        m, n = len(work_forward[k]), len(work_reverse[k])
        forward = sigmoid(value - math.log(m / n) - np.asarray(work_forward[k], np.float64))
        reverse = sigmoid(math.log(m / n) - value - np.asarray(work_reverse[k], np.float64))
        sides.append((-(forward / forward.mean() - 1) / m, (reverse / reverse.mean() - 1) / n))
        covariance[k, k] = sum(g[k + i] * side @ side for i, side in enumerate(sides[-1]))
    for k in range(num_windows - 1):
        covariance[k, k + 1] = covariance[k + 1, k] = g[k + 1] * sides[k][1] @ sides[k + 1][0]
    return values, covariance


def statistical_inefficiency(values, other=None, min_lag=3) -> float:
    """1 + 2 sum (1 - t / n) C_t, up to the first lag beyond `min_lag` where C_t <= 0.

    Chodera et al. 2007, as in pymbar.timeseries: the lags are summed one by one, up to n - 2.
    """
    first = np.asarray(values, np.float64) - np.mean(values, dtype=np.float64)
    second = first if other is None else np.asarray(other) - np.mean(other, dtype=np.float64)
    n, variance, total = len(first), np.mean(first * second), 1.0
    for lag in range(1, n - 1):
        products = first[: n - lag] @ second[lag:] + second[: n - lag] @ first[lag:]
        correlation = products / (2 * (n - lag) * variance)
        if correlation <= 0 and lag > min_lag:
            break
        total += 2 * correlation * (1 - lag / n)
    return max(total, 1.0)


def divergence(
    data, noise, log_partition, kappa=1.0, weights_data=None, weights_noise=None, block_size=1
):
    """-L + log(1 + kappa) + kappa log(1 + 1 / kappa), L the NCE loss, and the standard error of its
    two sample means.
    """
    (data, weights_data), (noise, weights_noise) = (
        counted(data, weights_data),
        counted(noise, weights_noise),
    )
    of_data = -softplus(math.log(kappa) - (data - log_partition))
    of_noise = -kappa * softplus((noise - log_partition) - math.log(kappa))
    ceiling = math.log1p(kappa) + kappa * math.log1p(1 / kappa)
    value, variance = ceiling, 0.0
    for terms, weights in (
        (of_data, shares(data, weights_data)),
        (of_noise, shares(noise, weights_noise)),
    ):
        value += weights @ terms
        variance += _block_variance(weights * (terms - weights @ terms), weights, block_size)
    return value, math.sqrt(variance)
