"""Steps to a distance, times of gradient flow, and curvatures, by quadrature in float64."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.common import cli, results
from experiments.common.progress import track
from experiments.convergence import landscape, studies
from experiments.convergence.config import PRESETS, Config
from experiments.convergence.statistics import headline

FAMILIES = ("mean", "precision")


def experiment(config: Config, key: jax.Array) -> results.Result:
    del key  # nothing is random
    with jax.enable_x64(True):
        arrays = _settings(config)
        for study in track(studies.STUDIES, "studies"):
            arrays |= {
                f"{study.name}_{field}": value
                for field, value in studies.run(study, config).items()
            }
        for family in FAMILIES:
            arrays[f"{family}_newton"] = studies.newton(family, config)
            arrays |= _curvatures(family, config)
        arrays |= _flow(config)
    return results.Result(arrays, headline(arrays), _failed(arrays))


def _settings(config: Config) -> dict[str, np.ndarray]:
    return {
        "mean_separations": np.array(config.separations),
        "precision_separations": np.array(config.precision_separations),
        "magnifications": np.array(config.magnifications),
        "curvature_magnifications": np.array([*config.curvature_magnifications, np.inf]),
        "distances": np.array(config.distances),
    }


def _flow(config: Config) -> dict[str, np.ndarray]:
    log_magnifications = np.log(100.0) * np.arange(config.flow_magnifications)
    separations = config.flow_separations
    times = landscape.flow_times(
        separations, log_magnifications, config.flow_distance, config.num_points
    )
    return {
        "flow_separations": np.array(separations),
        "flow_log_magnifications": log_magnifications,
        "flow_likelihood": np.log(np.array(separations) / config.flow_distance),
        **{f"flow_{name}": value for name, value in times.items()},
    }


def _curvatures(family: str, config: Config) -> dict[str, np.ndarray]:
    """Eigenvalues in ascending order, (M, separation, position, eigenvalue); infinite M is last.

    The family of means has one parameter, and is run with a joint gradient only.
    """
    make, separations = studies.problem_of(family, config)
    positions = jnp.linspace(0.0, 1.0, config.num_positions)
    arrays = {}
    kinds = {"joint": landscape.joint_curvatures}
    if family == "precision":
        kinds["solved"] = landscape.profiled_curvatures
    for name, curvatures in kinds.items():
        finite = lambda magnification, separation, fn=curvatures: fn(
            make(separation), magnification, positions
        )
        limit = lambda separation, fn=curvatures: fn(make(separation), None, positions)
        axes = {
            "magnification": jnp.array(config.curvature_magnifications),
            "separation": separations,
        }
        by_sweep = [
            jax.jit(jax.vmap(jax.vmap(finite, in_axes=(None, 0)), in_axes=(0, None)))(
                *axes.values()
            )
        ]
        by_sweep.append(jax.jit(jax.vmap(limit))(separations)[None])
        arrays[f"{family}_{name}_curvatures"] = np.concatenate(
            [np.asarray(part) for part in by_sweep]
        )
    return arrays


def _failed(arrays: dict[str, np.ndarray]) -> dict[str, list]:
    """Lanes (separation, M, rate) that diverged."""
    curves = {name: value for name, value in arrays.items() if name.endswith("gd_curves")}
    return {name: np.argwhere(~np.isfinite(value[..., -1])) for name, value in curves.items()}


if __name__ == "__main__":
    cli.main("convergence", PRESETS, experiment)
