"""What the artists show is what the result holds, and what has failed is visible as such."""

import types

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest

from nce_jax import free_energy, log_partition, plots
from nce_jax.log_partition import Solution, Status
from nce_jax.plots._axes import NEUTRAL, PALETTE, notes
from nce_jax.ratio_estimation import Calibration, CalibrationSlope, LogRatioEstimate, RocCurve
from nce_jax.telescoping import StageDiagnostics, Telescope
from nce_jax.training import FitResult

STATUSES = np.array([Status.CONVERGED, Status.LOW_OVERLAP, Status.NO_OVERLAP])


@pytest.fixture
def ax():
    return plt.subplots()[1]


def legend(ax) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


def is_hollow(line) -> bool:
    return line.get_markerfacecolor() == "white"


def solution(root, status=Status.CONVERGED) -> Solution:
    return Solution(jnp.float32(root), jnp.float32(0.0), jnp.int32(1), jnp.int32(status))


def test_log_ratios_are_counted_in_common_bins(ax):
    s_data, s_noise = jnp.array([2.0, 1.0, 0.5]), jnp.array([-1.0, 0.5])
    assert plots.log_ratio_histogram(s_data, s_noise, bins=3, ax=ax) is ax
    edges = np.linspace(-1, 2, 4)
    for container, values in zip(ax.containers, (s_data, s_noise), strict=True):
        expected, _ = np.histogram(values, edges, density=True)
        np.testing.assert_allclose([bar.get_height() for bar in container], expected)
    root = log_partition.solve_problem(log_partition.make_problem(s_data, s_noise)).log_partition
    np.testing.assert_allclose(ax.lines[0].get_xdata(), root, rtol=1e-6)
    assert "overlap" in legend(ax)[2]


def test_log_ratios_that_are_not_finite_are_counted_and_weights_of_zero_are_not(ax):
    s_data = jnp.array([2.0, np.inf, np.nan])
    plots.log_ratio_histogram(
        s_data,
        jnp.array([0.0, 0.5]),
        weights_data=jnp.array([True, True, False]),
        solution=solution(np.nan, Status.NONFINITE),
        ax=ax,
    )
    assert legend(ax)[0] == "data (1 not finite)"
    assert len(ax.lines) == 0
    assert notes(ax) == ["NONFINITE: F could not be solved for"]


def test_a_root_without_overlap_is_dotted(ax):
    plots.log_ratio_histogram(jnp.array([40.0, 41.0]), jnp.array([0.0, 1.0]), ax=ax)
    assert ax.lines[0].get_linestyle() == ":"
    assert "NO_OVERLAP" in legend(ax)[2]


def test_an_f_that_is_no_root_has_a_note(ax):
    plots.log_ratio_histogram(
        jnp.array([2.0, 1.0]), jnp.array([-1.0, 0.5]), solution=solution(50.0), ax=ax
    )
    assert notes(ax) == ["the solution's F is no root at this kappa: no overlap"]


def test_calibration_and_its_error_bars(ax):
    curve = Calibration(np.array([0.2, 0.7]), np.array([0.3, 0.65]), np.array([25, 100]))
    plots.calibration_curve(curve, ax=ax)
    line, _, (bars,) = ax.containers[0]
    np.testing.assert_allclose(line.get_xydata(), np.stack(curve[:2], axis=1))
    lengths = [np.ptp(segment[:, 1]) for segment in bars.get_segments()]
    np.testing.assert_allclose(lengths, 2 * np.sqrt([0.16 / 25, 0.21 / 100]))
    assert notes(ax) == []


def test_the_roc_curve(ax):
    curve = RocCurve(np.array([0.0, 0.1, 1.0]), np.array([0.0, 0.8, 1.0]), 0.85)
    plots.roc_curve(curve, ax=ax)
    np.testing.assert_allclose(ax.lines[1].get_xydata(), np.stack(curve[:2], axis=1))
    assert legend(ax) == ["area 0.850"]


@pytest.mark.parametrize("is_solved", [True, False])
def test_an_estimate_that_is_not_reliable_says_so(is_solved):
    """Solved for F or not, with all else as it should be."""
    blank = dict.fromkeys(LogRatioEstimate._fields)
    numbers = {"overlap": 0.5, "held_out_loss": 1.0, "held_out_loss_standard_error": 0.01}
    curves = {
        "calibration": Calibration(
            np.array([0.2, 0.7]), np.array([0.3, 0.65]), np.array([25, 100])
        ),
        "roc": RocCurve(np.array([0.0, 0.1, 1.0]), np.array([0.0, 0.8, 1.0]), 0.85),
    }
    rest = {"model": "linear", "signs_of_dependence": (), "excess_loss": 0.0, "best_step": 0}
    rest |= {"slope": CalibrationSlope(1.0, 0.0, 0.0)}
    rest |= {"selection_losses": {}, "effective_samples": 100.0, "log_ratio_error": 0.1}
    result = FitResult(None, {}, {"step": np.zeros(1), "held_out_loss": np.ones(1)})
    estimate = LogRatioEstimate(
        **blank | numbers | curves | rest | {"result": result, "is_solved": is_solved}
    )
    assert estimate.is_reliable == is_solved
    calibration = plots.calibration_curve(estimate, ax=plt.subplots()[1])
    roc = plots.roc_curve(estimate, ax=plt.subplots()[1])
    expected = [] if is_solved else ["NOT RELIABLE, see summary()"]
    assert notes(calibration) == notes(roc) == expected
    assert is_hollow(calibration.containers[0][0]) != is_solved
    assert roc.lines[1].get_linestyle() == ("-" if is_solved else ":")
    held = types.SimpleNamespace(estimate_=estimate)  # as an estimator of scikit-learn's kind is
    for draw in (plots.roc_curve, plots.calibration_curve):
        with pytest.raises(TypeError, match=r"^estimate: .*; its .estimate_ is a LogRatioEstimate"):
            draw(held)


def test_stages_without_an_estimate_are_hatched_and_crossed_out():
    overlap = np.array([0.5, 0.1, 0.0])
    share = np.array([0.3, 0.7, np.nan])
    rest = np.zeros(3)
    stages = StageDiagnostics(rest, overlap, rest, rest, share, STATUSES, rest)
    first, second = plots.telescope_stages(stages)
    heights = {bar.get_x() + bar.get_width() / 2: bar.get_height() for bar in first.patches}
    assert heights == pytest.approx(dict(enumerate(overlap)))
    hatched = {round(bar.get_x() + bar.get_width() / 2) for bar in first.patches if bar.get_hatch()}
    assert hatched == {1, 2}
    crosses = [line.get_xdata().tolist() for line in first.lines if line.get_marker() == "x"]
    assert crosses == [[2]]
    assert len(second.patches) == 2
    assert "no number" in legend(second)


def test_a_misfit_is_hatched_above_its_limit():
    blank = dict.fromkeys(Telescope._fields)
    rest = np.ones(2)
    stages = StageDiagnostics(rest, rest, rest, rest, rest, np.zeros(2), rest)
    result = {"stages": stages, "misfit": np.array([1.0, 9.0]), "is_converged": False}
    panels = plots.telescope_stages(Telescope(**blank | result))
    hatched = {bar.get_height(): bool(bar.get_hatch()) for bar in panels[2].patches}
    assert hatched == {1.0: False, 9.0: True}
    limit = Telescope(**blank | result).misfit_limit
    assert limit in {line.get_ydata()[0] for line in panels[2].lines}
    assert 1 < limit < 9
    assert notes(panels[0]) == ["NOT CONVERGED, see summary()"]


@pytest.fixture(scope="module")
def problem() -> log_partition.Problem:
    return log_partition.make_problem(jnp.array([2.0, 1.0, 5.0]), jnp.array([-1.0, 0.5]))


@pytest.mark.costly
def test_the_iterates_end_at_the_root_below_their_certified_bound(problem, ax):
    solver = log_partition.bisection()
    plots.solver_iterates(problem, solver=solver, ax=ax, label="mine")
    distance, bound = (line.get_ydata() for line in ax.lines)
    solved = log_partition.solve_problem(problem, solver=solver)
    assert len(distance) == solved.num_evaluations + 1
    # The tolerance of a solve, eps^(3/4).
    assert distance[-1] < np.finfo(np.float32).eps ** 0.75
    assert (np.nan_to_num(bound, nan=np.inf) > 0.99 * distance).all()
    # Every iterate of a solve in fewer steps is the same.
    _, third = log_partition.solve_with_last_iterate(problem, solver=solver, fixed_steps=3)
    root = log_partition.solve_problem(problem).log_partition
    np.testing.assert_allclose(distance[3], abs(third - root), rtol=1e-5)


def test_the_first_point_is_the_start(problem, ax):
    plots.solver_iterates(problem, initial=3.0, ax=ax)
    root = log_partition.solve_problem(problem).log_partition
    np.testing.assert_allclose(ax.lines[0].get_ydata()[0], abs(3 - root), rtol=1e-5)


def test_a_solver_that_ran_out_of_steps_ends_in_a_hollow_point(problem, ax):
    plots.solver_iterates(problem, solver=log_partition.bisection(), max_steps=2, ax=ax)
    assert is_hollow(ax.lines[-1])
    assert notes(ax) == ["MAX_STEPS: not converged, no solution"]


def test_a_problem_without_a_solution_has_only_a_note(problem, ax):
    broken = problem._replace(log_kappa=jnp.float32(jnp.nan))
    plots.solver_iterates(broken, ax=ax)
    assert len(ax.lines) == 0
    assert notes(ax) == ["NONFINITE: the problem has no solution"]


CHAIN = free_energy.ChainFreeEnergy(
    delta_f=np.array([1.0, 2.0, np.nan]),
    standard_error=np.array([0.1, 0.2, np.nan]),
    covariance=np.eye(3),
    total=np.nan,
    total_standard_error=np.nan,
    overlap=np.array([0.5, 0.1, 0.0]),
    status=STATUSES,
    effective_samples=np.array([100.0, 5.0, 0.0]),
)


def test_windows_are_drawn_by_their_status(ax):
    plots.free_energy_windows(CHAIN, ax=ax, label="chain", offset=0.1)
    good, low = (container[0] for container in ax.containers)
    np.testing.assert_allclose(good.get_xydata(), [[0.1, 1.0]])
    np.testing.assert_allclose(low.get_xydata(), [[1.1, 2.0]])
    assert (is_hollow(good), is_hollow(low)) == (False, True)
    bars = [np.ptp(c[2][0].get_segments()[0][:, 1]) for c in ax.containers]
    np.testing.assert_allclose(bars, [0.2, 0.4])
    (cross,) = (line for line in ax.lines if line.get_marker() == "x")
    assert cross.get_xdata().tolist() == [2.1]
    assert set(legend(ax)) == {
        "chain",
        "chain (LOW_OVERLAP: error too small)",
        "chain (NO_OVERLAP: no estimate)",
    }


def test_an_unknown_error_is_hollow_without_a_bar(ax):
    result = free_energy.FreeEnergy(*np.array([[1.0], [np.inf], [0.5], [0], [1.0]]))
    plots.free_energy_windows(result, ax=ax)
    assert is_hollow(ax.containers[0][0])
    assert legend(ax) == ["error not known"]


def states(status) -> free_energy.StateFreeEnergies:
    difference = np.array([[0, 1, np.nan], [-1, 0, np.nan], [np.nan, np.nan, 0]])
    blank = dict.fromkeys(free_energy.StateFreeEnergies._fields)
    return free_energy.StateFreeEnergies(
        **blank
        | {
            "f": difference[0],
            "delta_f": difference,
            "standard_error": np.abs(difference) / 10,
            "overlap": np.array([[0.7, 0.3, 0], [0.3, 0.7, 0], [np.nan, np.nan, np.nan]]),
            "status": np.asarray(status),
        }
    )


def test_neighbors_of_many_states(ax):
    plots.free_energy_windows(states([0, 0, Status.NO_OVERLAP]), ax=ax)
    np.testing.assert_allclose(ax.containers[0][0].get_xydata(), [[0, 1.0]])
    assert legend(ax) == ["NO_OVERLAP: no estimate"]


def test_the_overlap_matrix_and_its_missing_rows(ax):
    result = states([0, 0, Status.NO_OVERLAP])
    plots.overlap_matrix(result, ax=ax)
    shown = ax.images[0].get_array()
    np.testing.assert_allclose(shown[:2], result.overlap[:2])
    assert shown.mask[2].all()
    assert notes(ax) == ["NO_OVERLAP of states 2: not connected to state 0"]


def test_the_ticks_of_many_states_are_whole(ax):
    plots.overlap_matrix(np.eye(19), ax=ax)
    ticks = np.concatenate([ax.get_xticks(), ax.get_yticks()])
    np.testing.assert_array_equal(ticks, ticks.round())


def test_convergence_from_both_ends(ax):
    half, whole = np.array([0.5, 1.0]), np.array([1.0, 1.2])
    parts = free_energy.Convergence(
        half, whole, whole / 10, np.array([0, 0]), np.array([np.nan, 1.2]), whole / 10, STATUSES[1:]
    )
    parts = parts._replace(backward_status=np.array([Status.NO_OVERLAP, 0]))
    plots.free_energy_convergence(parts, ax=ax)
    first, last = (container[0] for container in ax.containers)
    np.testing.assert_allclose(first.get_xydata(), np.stack([half, whole], axis=1))
    np.testing.assert_allclose(last.get_xydata(), [[1.0, 1.2]])
    assert "last samples (NO_OVERLAP: no estimate)" in legend(ax)


def test_replicates_and_their_failures(ax):
    values = np.array([0.9, 1.0, 1.1, 1.3])
    result = free_energy.FreeEnergyBootstrap(1.0, 0.1, values, 0.1, values, 0, 50.0)
    plots.bootstrap_histogram(result, ax=ax, bins=2)
    heights = [bar.get_height() for bar in ax.containers[0]]
    assert heights == np.histogram(values, 2)[0].tolist()
    assert legend(ax)[-1] == "95% interval"
    failed = result._replace(
        replicates=np.append(values, np.nan), status=np.int32(Status.LOW_OVERLAP)
    )
    other = plots.bootstrap_histogram(failed, ax=plt.subplots()[1])
    assert other.patches[0].get_hatch()
    assert notes(other) == [
        "LOW_OVERLAP: the error is too small, as a rule",
        "1 of 5 replicates failed: no interval",
    ]
    assert not any("interval" in text for text in legend(other))


def test_a_batch_is_refused():
    work = jnp.zeros((2, 3, 4))
    result = jax.eval_shape(free_energy.bar, work, work)
    batch = jax.tree.map(lambda leaf: np.zeros(leaf.shape), result)
    with pytest.raises(ValueError, match="result: expected windows without further batch axes"):
        plots.free_energy_windows(batch)
    stages = StageDiagnostics(*[np.zeros((2, 3))] * 7)
    with pytest.raises(ValueError, match="telescope: expected stages"):
        plots.telescope_stages(stages)


@pytest.mark.bad_input
@pytest.mark.parametrize("name", [name for name in plots.__all__ if name != "energy_map"])
def test_wrong_objects_are_refused_by_name(name):
    function = getattr(plots, name)
    arguments = {
        "log_ratio_histogram": ("many", np.ones(3, np.float32)),
        "sweep_lines": ("many", "value", "a"),
        "sweep_panels": ("many", "value"),
    }.get(name, ("many",))
    with pytest.raises((TypeError, ValueError), match=r"^\w+: expected .*got str 'many'"):
        function(*arguments)
    assert plt.get_fignums() == []  # no empty figure is left behind


@pytest.mark.bad_input
def test_axes_of_another_kind_are_refused():
    with pytest.raises(TypeError, match="ax: expected Axes of matplotlib"):
        plots.overlap_matrix(np.eye(2), ax=plt.figure())
    history = {"step": [1], "loss": [1.0], "overlap": [0.5]}
    with pytest.raises(TypeError, match="ax: expected 2 Axes of matplotlib"):
        plots.training_history(history, ax=plt.subplots()[1])


def test_results_in_the_same_axes_have_colors_of_their_own():
    calibration = Calibration(np.array([0.2, 0.7]), np.array([0.3, 0.65]), np.array([25, 100]))
    roc = RocCurve(np.array([0.0, 0.1, 1.0]), np.array([0.0, 0.8, 1.0]), 0.85)
    for draw, result in (
        (plots.calibration_curve, calibration),
        (plots.roc_curve, roc),
        (plots.free_energy_windows, CHAIN),
    ):
        ax = plt.subplots()[1]
        for options in ({}, {}, {"color": "red"}, {}):
            draw(result, ax=ax, **options)
        used = [line.get_color() for line in ax.lines if line.get_marker() in ("o", "None")]
        colors = [color for color in dict.fromkeys(used) if color != NEUTRAL]
        assert colors == [*PALETTE[:2], "red", PALETTE[2]]
