"""Computes D_kappa by its definition, by quadrature of the loss, and from samples."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.common import cli, results
from experiments.divergence_family.config import PRESETS, Config
from experiments.divergence_family.estimates import Arrays, bounds, limits, sampled
from experiments.divergence_family.pairs import FARTHEST, Pair, exact_divergence, pairs
from experiments.divergence_family.statistics import headline


def experiment(config: Config, key: jax.Array) -> results.Result:
    with jax.enable_x64(True):  # the identities are checked to 1e-9
        arrays = _exact(config) | _sampled(config, key)
    failed = {
        name: np.argwhere(np.isin(arrays[name], (1, 2)))
        for name in arrays
        if name.endswith("status")
    }
    return results.Result(arrays, headline(arrays), failed)


def _exact(config: Config) -> Arrays:
    """The definition (pair, kappa), and the library's bounds (pair, factor, kappa)."""
    kappas, all_pairs = jnp.asarray(config.kappas), pairs()
    quadratures = [pair.quadrature(config.num_grid) for pair in all_pairs]
    padded = [quadrature.padded(config.num_grid) for quadrature in quadratures]
    parts = [bounds(quadrature, kappas, config.scales, config.offsets) for quadrature in padded]
    return {
        "kappas": np.asarray(kappas),
        "pairs": np.array([pair.name for pair in all_pairs]),
        "kl": np.array([pair.kl for pair in all_pairs]),
        "reverse_kl": np.array([pair.reverse_kl for pair in all_pairs]),
        "exact": np.array(
            [[exact_divergence(quad, float(k)) for k in kappas] for quad in quadratures]
        ),
        "jensen_shannon": np.array([exact_divergence(quad, 1.0) / 2 for quad in quadratures]),
        "far_kappas": np.array([1e-7, 1e12]),
        "exact_far": np.array(
            [
                [exact_divergence(quad, 1e-7) / 1e-7, exact_divergence(quad, 1e12)]
                for quad in quadratures
            ]
        ),
        "scales": np.array(config.scales),
        "offsets": np.array(config.offsets),
        **{name: np.stack([part[name] for part in parts]) for name in parts[0]},
    }


def _sampled(config: Config, key: jax.Array) -> Arrays:
    """Replicates of every pair at one size, and of the farthest pair at several."""
    kappas, all_pairs = jnp.asarray(config.kappas), pairs()
    sides = [
        _draw(pair, key, index, config.num_seeds, config.num_samples)
        for index, pair in enumerate(all_pairs)
    ]
    stacked = [jnp.stack(side) for side in zip(*sides, strict=True)]
    arrays = _named("sampled", sampled(*stacked, kappas)) | _named("limit", limits(*stacked))
    index = [pair.name for pair in all_pairs].index(FARTHEST)
    sizes = sorted({config.num_samples, *config.other_num_samples})
    for size in config.other_num_samples:
        far = _draw(all_pairs[index], key, size, config.num_seeds, size)
        arrays |= _named(f"far_{size}", sampled(*far, kappas)) | _named(
            f"far_{size}_limit", limits(*far)
        )
    of_farthest = {
        name: values[..., index, :]
        for name, values in arrays.items()
        if name.startswith(("sampled", "limit"))
    }
    for name, values in of_farthest.items():
        suffix = name.removeprefix("sampled") if name.startswith("sampled") else f"_{name}"
        arrays[f"far_{config.num_samples}{suffix}"] = values
    return arrays | {"sizes": np.array(sizes), "num_samples": np.array(config.num_samples)}


def _draw(
    pair: Pair, key: jax.Array, index: int, num_seeds: int, num_samples: int
) -> tuple[jax.Array, jax.Array]:
    """True log ratios of data and of noise, (seed, n)."""
    keys = jax.random.split(jax.random.fold_in(key, index))
    shape = (num_seeds, num_samples)
    return pair.draw(keys[0], True, shape), pair.draw(keys[1], False, shape)


def _named(prefix: str, arrays: Arrays) -> Arrays:
    return {f"{prefix}_{name}": values for name, values in arrays.items()}


if __name__ == "__main__":
    cli.main("divergence_family", PRESETS, experiment)
