"""What the command line may ask for. Nothing here touches a device: their number is one of the
arguments.
"""

import dataclasses
import math
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import tyro

COUNTS = (
    "seeds",
    "num_steps",
    "batch_size",
    "num_records",
    "devices",
    "max_lanes",
    "memory_limit",
    "dim",
    "num_cells",
)

Treatment = Literal["joint", "raised", "bar", "solved"]


class UsageError(Exception):
    """An argument makes no sense; the message names it, what was expected and what came."""


@dataclasses.dataclass(frozen=True)
class Sweep:
    """Axes take one value or more; the grid is the product of all of them. Everything else has one
    value.
    """

    axes: ClassVar[tuple[str, ...]] = ("magnification", "noise_ratio", "learning_rate")
    name: ClassVar[str]

    magnification: tuple[float, ...] = (1.0,)
    """Axis. M > 0."""
    noise_ratio: tuple[float, ...] = (1.0,)
    """Axis. nu > 0 of the loss; a step draws as many noise as data samples whatever it is."""
    learning_rate: tuple[float, ...] = (1.0,)
    """Axis. On the scale of the paper's loss, half of ours, as in the experiments."""
    treatment: tuple[Treatment, ...] = ("solved",)
    """Axis. Of F: by gradient, at the parameters' rate or at a raised one; one BAR step per
    training step; solved."""
    seeds: int = 10
    """Axis. How many, from 0 on. A seed draws the same start and samples at every other point of
    the grid."""
    num_steps: int = 1000
    """Training steps."""
    batch_size: int = 512
    """Samples of data, and of noise, per step, drawn afresh."""
    num_records: int = 12
    """Steps at which the run is measured, evenly spaced on a log scale; the last is always one."""
    raised_rate: float = 1.0
    """Learning rate of F under the treatment "raised", on the paper's scale."""
    devices: int = 1
    """Over which the lanes are spread; of the processor, as many as asked for, unless there is an
    accelerator."""
    max_lanes: int | None = None
    """Most lanes at once, lost by a kill [a twentieth of the grid, but a seed per device: few seeds
    make fewer chunks]."""
    memory_limit: int | None = None
    """Bytes that a chunk may use on each device."""
    output: Path | None = None
    """Folder of the result [build/sweeps/<experiment>]."""
    resume: bool = False
    """Go on with the sweep in the output folder."""

    @property
    def folder(self) -> Path:
        return self.output or Path("build/sweeps") / self.name

    def settings(self) -> dict[str, Any]:
        """What the numbers depend on: all but where and how they are computed."""
        elsewhere = {"devices", "max_lanes", "memory_limit", "output", "resume"}
        return {
            name: value for name, value in dataclasses.asdict(self).items() if name not in elsewhere
        }


@dataclasses.dataclass(frozen=True)
class Gaussian1d(Sweep):
    """The mean of a Gaussian, as in experiments/gaussian_1d: error = distance of (theta, F) from
    the data's.
    """

    axes: ClassVar[tuple[str, ...]] = (*Sweep.axes, "distance")
    name: ClassVar[str] = "gaussian-1d"

    distance: tuple[float, ...] = (4.0,)
    """Axis. Of the data's mean from the noise's."""
    raised_rate: float = 10.0
    """Learning rate of F under the treatment "raised", on the paper's scale."""


@dataclasses.dataclass(frozen=True)
class Gaussian16d(Sweep):
    """Variances of a diagonal Gaussian, as in experiments/gaussian_16d: error = distance of (theta,
    F) from the data's.
    """

    name: ClassVar[str] = "gaussian-16d"

    learning_rate: tuple[float, ...] = (0.1,)
    """Axis. Of SGD, on the scale of the paper's loss, half of ours."""
    dim: int = 16
    """Dimensions."""


@dataclasses.dataclass(frozen=True)
class Toy2d(Sweep):
    """A network as the energy of a toy, as in experiments/toy_2d: error = KL(data : model) by
    quadrature.
    """

    axes: ClassVar[tuple[str, ...]] = (*Sweep.axes, "noise_variance")
    name: ClassVar[str] = "toy-2d"

    learning_rate: tuple[float, ...] = (1e-3,)
    """Axis. Adam's, which does not hang on the loss's scale."""
    noise_variance: tuple[float, ...] = (2.0,)
    """Axis. Of both coordinates of the Gaussian noise."""
    toy: Literal["8-gaussians", "pinwheel"] = "8-gaussians"
    """The data."""
    hidden: tuple[int, ...] = (128, 64)
    """Widths of the network."""
    num_cells: int = 160
    """Per side of the square of the quadrature."""


@dataclasses.dataclass(frozen=True)
class Plot:
    """Draw a stored sweep: median over seeds with a band from 16 to 84 %, failed lanes left out and
    marked.
    """

    file: tyro.conf.Positional[Path]
    """The result, or its folder."""
    value: str = "error"
    """What to draw; a wrong name lists them."""
    x: str | None = None
    """Axis to draw it against [the first with more than one value, or else the step]."""
    lines: str | None = None
    """Axis with one line per value [the treatment, or else the next with more than one value]."""
    panels: str | None = None
    """Axis with one panel per value."""
    at: tuple[str, ...] = ()
    """Values of other axes, as NAME=VALUE; the step is the last one unless given."""
    output: Path = Path("build/figures")
    """Folder of the figure."""


Command = (
    Annotated[Gaussian1d, tyro.conf.subcommand("gaussian-1d")]
    | Annotated[Gaussian16d, tyro.conf.subcommand("gaussian-16d")]
    | Annotated[Toy2d, tyro.conf.subcommand("toy-2d")]
    | Annotated[Plot, tyro.conf.subcommand("plot")]
)


def check(sweep: Sweep) -> None:
    """Raises a `UsageError` for the first argument that makes no sense."""
    for name in sweep.axes:
        values = getattr(sweep, name)
        if not values or not all(0 < value < math.inf for value in values):
            raise UsageError(f"{name}: expected finite positive numbers, got {list(values)}")
        _check_distinct(name, values)
    if not sweep.treatment:
        raise UsageError("treatment: expected at least one, got none")
    _check_distinct("treatment", sweep.treatment)
    for name in COUNTS:
        value = getattr(sweep, name, None)
        if value is not None and value < 1:
            raise UsageError(f"{name}: expected at least 1, got {value}")
    if not 0 < sweep.raised_rate < math.inf:
        raise UsageError(f"raised_rate: expected a finite positive number, got {sweep.raised_rate}")
    if isinstance(sweep, Toy2d) and not all(width > 0 for width in sweep.hidden):
        raise UsageError(f"hidden: expected widths of at least 1, got {list(sweep.hidden)}")


def _check_distinct(name: str, values: tuple) -> None:
    if len(set(values)) < len(values):
        raise UsageError(f"{name}: expected distinct values, got {list(values)}")
