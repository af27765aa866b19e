"""Features of samples in which a penalized log ratio is linear: coordinates, products, kernels."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nce_jax._numerics import host_products, matmul
from nce_jax._types import Params

MAX_PRODUCTS = 1000
"""Above this number of features only squares of coordinates are used, not all of their products."""

MAX_SQUARES = 2000
"""Above this number of coordinates a log ratio is linear or constant."""

_NUM_CENTERS = 300
"""The largest number of kernel centers, and of other features beside them. More centers did not
lower the held-out loss on the problems of the benchmark."""

_KERNEL_SCALE = 3.0
"""Factor of the kernel features, whose variances add up to less than one; those of coordinates are
one each. It makes one grid of penalties serve both."""

_RANGES = 3.0
"""Coordinates end so many ranges of their middle 98 per cent beyond it: 16 standard deviations of a
Gaussian from its mean. Samples farther out, such as errors of a recording, would else set the
spread of all others, and squares would extrapolate to them."""

WIDTHS = (0.25, 0.5, 1.0)
"""Widths of the Gaussian kernels over the median distance of two samples."""


class FeatureMap(NamedTuple):
    """A map from samples to features: coordinates, products of them and Gaussian kernels.

    Attributes:
      mean: mean of every coordinate over both sets, (d,).
      spread: its standard deviation, or one for a constant coordinate, (d,).
      products: the two coordinates of every product, (2, p2); empty for a linear map.
      centers: centers of the kernels in standardized coordinates, (k, d); None for no kernels.
      width: standard deviation of the kernels, in standardized coordinates.
      whitening: matrix from kernels to features, (k, r), whose penalty is then the norm of the
        function (Nystrom's approximation).
      ends: where every coordinate ends, (2, d); beyond it the log ratio is that of the end. None
        for nowhere.
    """

    mean: np.ndarray
    spread: np.ndarray
    products: np.ndarray
    centers: np.ndarray | None = None
    width: float = 1.0
    whitening: np.ndarray | None = None
    ends: np.ndarray | None = None

    @host_products
    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Features of samples, (n, d) -> (n, p)."""
        moved = x if self.ends is None else np.clip(x, *self.ends)
        z = ((moved - self.mean) / self.spread).astype(np.float32)
        parts = [z, z[:, self.products[0]] * z[:, self.products[1]]]
        if self.centers is not None and self.whitening is not None:
            kernels = _kernels(z, self.centers.astype(np.float32), self.width)
            parts.append(kernels @ self.whitening.astype(np.float32))
        return np.concatenate(parts, axis=1)

    def log_ratio_params(self, coefficients: np.ndarray, intercept: float, dtype: Any) -> Params:
        """Parameters of `log_ratio` for the linear function of the features, in a dtype."""
        dim, num_products = len(self.mean), self.products.shape[1]
        linear, products, kernels = np.split(coefficients, [dim, dim + num_products])
        params: dict[str, Any] = {
            "mean": self.mean, "spread": self.spread, "intercept": intercept, "linear": linear
        }  # fmt: skip
        if self.ends is not None:
            params["ends"] = self.ends
        if num_products:
            params["quadratic"] = np.zeros((dim, dim))
            np.add.at(params["quadratic"], tuple(self.products), products)
        if self.centers is not None and self.whitening is not None:
            weights = self.whitening @ kernels
            params |= {"centers": self.centers, "kernels": weights, "width": self.width}
        return {name: jnp.asarray(np.asarray(value, dtype)) for name, value in params.items()}


def log_ratio(params: Params, x: jax.Array) -> jax.Array:
    """The log ratio that is linear in the features, (n, d) -> (n,); its quadratic part is z'Az.

    The products themselves are never stored.
    """
    dim = params["mean"].shape[0]
    if jnp.ndim(x) != 2 or jnp.shape(x)[1] != dim:
        raise ValueError(f"x: expected samples of shape (n, {dim}), got shape {jnp.shape(x)}")
    z = (inside(params, x) - params["mean"][None]) / params["spread"][None]
    # In full precision, as the host computes what is assessed, also on an accelerator.
    value = params["intercept"] + matmul(z, params["linear"])
    if "quadratic" in params:
        value += jnp.sum(matmul(z, params["quadratic"]) * z, axis=1)
    if "centers" in params:
        squares = jnp.sum(z**2, axis=1)[:, None] + jnp.sum(params["centers"] ** 2, axis=1)[None]
        distance = jnp.maximum(squares - 2 * matmul(z, params["centers"].T), 0)
        value += matmul(jnp.exp(-distance / (2 * params["width"] ** 2)), params["kernels"])
    return value


def inside(params: Params, x: jax.Array) -> jax.Array:
    """Samples (n, d), of which coordinates beyond the ends of the log ratio are moved there."""
    return jnp.clip(x, *params["ends"][:, None]) if "ends" in params else x


def feature_maps(
    rng: np.random.Generator, x: np.ndarray, weights: np.ndarray | None = None
) -> dict[str, list[FeatureMap]]:
    """The maps that are tried, by the name of their family, from the simplest one on.

    Means, spreads and centers come from the samples of both sets, without regard to the set that a
    sample is of.
    """
    if weights is not None and (weights == 1).all():
        weights = None
    ends = _ends(x, weights)
    moved = np.clip(x, *ends)
    is_moved, x = bool((moved != x).any()), moved
    mean, spread = moments(x, weights)
    dim = x.shape[1]
    linear = FeatureMap(mean, spread, np.zeros((2, 0), int), ends=ends if is_moved else None)
    if dim > MAX_SQUARES:
        return {"linear": [linear]}
    squares = linear._replace(products=np.stack([np.arange(dim)] * 2))
    quadratic = linear._replace(products=np.stack(np.triu_indices(dim)))
    has_products = dim > 1 and dim + quadratic.products.shape[1] <= MAX_PRODUCTS
    richest = quadratic if has_products else squares
    maps = {"linear": [linear], "squares": [squares]}
    if has_products:
        maps["quadratic"] = [quadratic]
    if dim + richest.products.shape[1] <= _NUM_CENTERS:
        maps["kernels"] = _kernel_maps(rng, richest, (x - mean) / spread, weights)
    return maps


def moments(x: np.ndarray, weights: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Mean and spread of every coordinate, (d,) each; a spread of zero becomes one."""
    if weights is None:
        mean, spread = x.mean(axis=0, dtype=np.float64), x.std(axis=0, dtype=np.float64)
    else:
        wide = x.astype(np.float64)
        mean = np.average(wide, axis=0, weights=weights)
        spread = np.sqrt(np.average((wide - mean) ** 2, axis=0, weights=weights))
    # The rounding of a mean is no spread of a constant.
    is_constant = (x == x[:1]).all(axis=0)
    return mean, np.where(is_constant | (spread == 0), 1, spread)


def _ends(x: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """Where coordinates end, (2, d): nowhere if their middle has no range, as that of rare ones."""
    options: dict[str, Any] = (
        {} if weights is None else {"weights": weights, "method": "inverted_cdf"}
    )
    low, high = np.quantile(x, [0.01, 0.99], axis=0, **options)
    reach = np.where(high > low, _RANGES * (high - low), np.inf)
    return np.stack([low - reach, high + reach])


def _kernel_maps(
    rng: np.random.Generator, quadratic: FeatureMap, z: np.ndarray, weights: np.ndarray | None
) -> list[FeatureMap]:
    share = None if weights is None else weights / weights.sum()
    chosen = rng.choice(len(z), min(_NUM_CENTERS, len(z)), replace=False, p=share)
    centers = np.unique(z[chosen], axis=0)
    distances = np.sqrt(_square_distances(centers, centers))[np.triu_indices(len(centers), 1)]
    if not distances.size:
        return []
    median = float(np.median(distances))
    return [
        quadratic._replace(
            centers=centers, width=share * median, whitening=_whitening(centers, share * median)
        )
        for share in WIDTHS
    ]


def _whitening(centers: np.ndarray, width: float) -> np.ndarray:
    eigenvalues, vectors = np.linalg.eigh(_kernels(centers, centers, width))
    is_used = eigenvalues > 1e-5 * eigenvalues[-1]
    return _KERNEL_SCALE * vectors[:, is_used] / np.sqrt(eigenvalues[is_used])


def _kernels(z: np.ndarray, centers: np.ndarray, width: float) -> np.ndarray:
    return np.exp(-_square_distances(z, centers) / (2 * width**2))


@host_products
def _square_distances(z: np.ndarray, centers: np.ndarray) -> np.ndarray:
    squares = (z**2).sum(axis=1)[:, None] + (centers**2).sum(axis=1)[None]
    return np.maximum(squares - 2 * z @ centers.T, 0)
