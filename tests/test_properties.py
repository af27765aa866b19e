"""Random problems of every kind against an independent root: no answer is both wrong and called
solved.
"""

from typing import NamedTuple

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st

from nce_jax import Status
from tests.log_partition.cases import SOLVERS, solve
from tests.oracles import overlap, root

pytestmark = pytest.mark.slow

# Problems are padded with samples of weight zero, so that a few compiled shapes serve every size.
LANES = 16
SHAPES = {"small": 24, "medium": 200, "large": 2000}
TAILS = {
    "normal": lambda generator, size: generator.normal(size=size),
    "heavy": lambda generator, size: generator.standard_t(1.2, size=size),
    "lattice": lambda generator, size: generator.integers(-2, 3, size=size).astype(float),
    "constant": lambda generator, size: np.zeros(size),
}


class Spec(NamedTuple):
    """How to draw one problem; `kappa` is a number, or the ranks of the samples between which the
    counts balance.
    """

    seed: int
    separation: float
    tails: str
    num_data: int
    num_noise: int
    kappa: float | tuple[float, float]
    offset: float


class Lane(NamedTuple):
    data: np.ndarray
    noise: np.ndarray
    magnification: float


def specs(max_size: int) -> st.SearchStrategy[list[Spec]]:
    sizes = st.integers(1, max_size)
    # One in two problems can be solved only by what lies on either side of a gap: there rounding
    # decides, if it can.
    balanced = st.tuples(st.floats(0, 1), st.floats(0, 1))
    kappas = st.floats(-6, 6).map(lambda exponent: 10**exponent) | balanced
    separations = st.floats(0, 40) | st.floats(-40, 0)
    offsets = st.sampled_from([0.0, 0.0, 3.0, -1e3, 1e6])
    spec = st.builds(
        Spec,
        st.integers(0, 2**32),
        separations,
        st.sampled_from(sorted(TAILS)),
        sizes,
        sizes,
        kappas,
        offsets,
    )
    return st.lists(spec, min_size=LANES, max_size=LANES)


def realize(spec: Spec, dtype) -> Lane:
    """Samples and kappa as the solver sees them: rounded to its dtype."""
    generator = np.random.default_rng(spec.seed)
    draw, d = TAILS[spec.tails], spec.separation
    data, noise = d + draw(generator, spec.num_data), draw(generator, spec.num_noise)
    # A negative separation turns the ratios round: data score below noise, as from a model of the
    # wrong sign.
    data, noise = (abs(d) * (x - d / 2) + spec.offset for x in (data, noise))
    kappa = spec.kappa
    if isinstance(kappa, tuple):
        below = max(1, round(kappa[0] * spec.num_data)) / spec.num_data
        kappa = float(
            np.clip(below / (max(1, round(kappa[1] * spec.num_noise)) / spec.num_noise), 1e-6, 1e6)
        )
    return Lane(data.astype(dtype), noise.astype(dtype), float(np.asarray(kappa, dtype)))


def padded(rows: list[np.ndarray], size: int) -> tuple[jax.Array, jax.Array]:
    values = np.full((len(rows), size), np.nan, rows[0].dtype)
    weights = np.zeros((len(rows), size), rows[0].dtype)
    for lane, row in enumerate(rows):
        values[lane, : len(row)], weights[lane, : len(row)] = row, 1
    return jnp.asarray(values), jnp.asarray(weights)


def solve_all(lanes: list[Lane], size: int, solver: str):
    data, weights_data = padded([lane.data for lane in lanes], size)
    noise, weights_noise = padded([lane.noise for lane in lanes], size)
    magnification = jnp.asarray([lane.magnification for lane in lanes], data.dtype)
    weights = {"weights_data": weights_data, "weights_noise": weights_noise}
    return jax.tree.map(
        np.asarray,
        solve(data, noise, magnification=magnification, solver=SOLVERS[solver], **weights),
    )


def allowed_error(log_partition: float, lane: Lane, eps: float) -> float:
    """The default tolerance, and rounding: of F itself, and of the samples that decide it.

    In the middle of a gap F hangs on samples hundreds of nats away, each of them rounded to the
    dtype: near 300 a float32 is known to 3e-5, and no method can know the middle better.
    """
    b = log_partition + np.log(lane.magnification)
    nearest = min(np.min(np.abs(b - samples.astype(float))) for samples in (lane.data, lane.noise))
    return eps**0.75 + 4 * eps * (abs(log_partition) + nearest)


def distance_to_roots(log_partition: float, lane: Lane, eps: float, allowed: float) -> float:
    """How far F lies from the root, in units of what is allowed.

    Where equal counts of data and (kappa times) noise lie below a gap, the root moves along the
    whole gap while kappa changes by one rounding error: a kappa of 1/3 is not a third. The library
    takes counts that agree to 4 eps for equal, and works with log kappa, whose rounding (up to 14
    in size) is another 4 eps of kappa. So an F is also right that is the root for some kappa within
    8 eps of the one given. A root that is well conditioned does not move by that: no allowance
    there.
    """
    exact = root(lane.data, lane.noise, kappa=lane.magnification)
    if abs(log_partition - exact) <= allowed:
        return abs(log_partition - exact) / allowed
    low, high = (
        root(lane.data, lane.noise, kappa=lane.magnification * (1 + sign * 8 * eps))
        for sign in (-1, 1)
    )
    nearest = np.clip(log_partition, min(low, high), max(low, high))
    return abs(log_partition - nearest) / allowed


def check(specs_of_lanes: list[Spec], size: int, solver: str, dtype) -> None:
    lanes = [realize(spec, dtype) for spec in specs_of_lanes]
    solution = solve_all(lanes, size, solver)
    eps = float(np.finfo(dtype).eps)
    for i, (spec, lane) in enumerate(zip(specs_of_lanes, lanes, strict=True)):
        log_partition, status = float(solution.log_partition[i]), Status(int(solution.status[i]))
        if solver == "fixed_point" and status == Status.MAX_STEPS:
            assert np.isnan(log_partition), spec
            continue
        assert status in (Status.CONVERGED, Status.NO_OVERLAP), (spec, status)
        distance = distance_to_roots(
            log_partition, lane, eps, allowed_error(log_partition, lane, eps)
        )
        assert distance <= 1, (spec, status, log_partition, distance)
        check_overlap_status(lane, log_partition, status, eps, spec)


def check_overlap_status(
    lane: Lane, log_partition: float, status: Status, eps: float, spec: Spec
) -> None:
    """NO_OVERLAP if and only if O (n + m) < 1, away from the border."""
    total = overlap(lane.data, lane.noise, log_partition, lane.magnification) * (
        len(lane.data) + len(lane.noise)
    )
    slack = 1e-3 + 8 * eps * np.max(np.abs(np.concatenate([lane.data, lane.noise])))
    if abs(np.log(max(total, 1e-300))) > slack:
        assert (status == Status.NO_OVERLAP) == (total < 1), (spec, status, total)


@pytest.mark.parametrize("solver", SOLVERS)
def test_no_answer_is_wrong_and_called_solved(solver, float_dtype):
    @hypothesis.settings(max_examples=15)
    @hypothesis.given(specs(SHAPES["medium"]))
    def run(specs_of_lanes):
        check(specs_of_lanes, SHAPES["medium"], solver, float_dtype)

    run()


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("shape", SHAPES)
def test_no_answer_is_wrong_in_thousands(solver, shape, float_dtype):
    @hypothesis.settings(max_examples={"small": 150, "medium": 60, "large": 20}[shape])
    @hypothesis.given(specs(SHAPES[shape]))
    def run(specs_of_lanes):
        check(specs_of_lanes, SHAPES[shape], solver, float_dtype)

    run()
