"""Arguments of the command line. No device is used here: their number is an argument."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import tyro

Treatment = Literal["joint", "raised", "bar", "solved"]


@dataclasses.dataclass(frozen=True)
class Sweep:
    """Settings of a sweep, whose grid is the product of all axes.

    Axes take one or more values, and every other setting takes one.
    """

    axes: ClassVar[tuple[str, ...]] = ("magnification", "noise_ratio", "learning_rate")
    name: ClassVar[str]

    magnification: tuple[float, ...] = (1.0,)
    """Axis. M > 0."""
    noise_ratio: tuple[float, ...] = (1.0,)
    """Axis. nu > 0 in the loss; every step draws as many noise samples as data samples in any
    case."""
    learning_rate: tuple[float, ...] = (1.0,)
    """Axis. On the scale of the paper's loss, which is half of ours, as in the experiments."""
    treatment: tuple[Treatment, ...] = ("solved",)
    """Axis. Treatment of F: by gradient at the parameters' learning rate ("joint") or at a raised
    one ("raised"), one BAR step per training step ("bar"), or solved for ("solved")."""
    seeds: int = 10
    """Axis. Number of seeds, from 0. A seed draws the same start and samples at every point of the
    grid."""
    num_steps: int = 1000
    """Training steps."""
    batch_size: int = 512
    """Number of data samples, and of noise samples, drawn afresh in every step."""
    num_records: int = 12
    """Number of steps at which the run is measured, evenly spaced on a log scale; the last step is
    always included."""
    raised_rate: float = 1.0
    """Learning rate of F under the treatment "raised", on the paper's scale."""
    devices: int = 1
    """Number of devices over which the lanes are spread; without an accelerator, virtual CPU
    devices."""
    max_lanes: int | None = None
    """Maximum number of lanes computed at once, which an interruption would lose [a twentieth of
    the grid, but at least one seed per device: fewer seeds make fewer chunks]."""
    memory_limit: int | None = None
    """Maximum number of bytes of a chunk on each device."""
    output: Path | None = None
    """Folder of the result [build/sweeps/<experiment>]."""
    resume: bool = False
    """Resume the sweep in the output folder."""

    @property
    def folder(self) -> Path:
        return self.output or Path("build/sweeps") / self.name

    def settings(self) -> dict[str, Any]:
        """Settings that determine the numbers, without those of where and how they are computed."""
        not_settings = {"devices", "max_lanes", "memory_limit", "output", "resume"}
        return {
            name: value
            for name, value in dataclasses.asdict(self).items()
            if name not in not_settings
        }


@dataclasses.dataclass(frozen=True)
class Gaussian1d(Sweep):
    """The mean of a Gaussian, as in experiments/gaussian_1d.

    The error is the distance of (theta, F) from the data's parameters.
    """

    axes: ClassVar[tuple[str, ...]] = (*Sweep.axes, "distance")
    name: ClassVar[str] = "gaussian-1d"

    distance: tuple[float, ...] = (4.0,)
    """Axis. Distance of the data's mean from the noise's."""
    raised_rate: float = 10.0
    """Learning rate of F under the treatment "raised", on the paper's scale."""


@dataclasses.dataclass(frozen=True)
class Gaussian16d(Sweep):
    """The variances of a diagonal Gaussian, as in experiments/gaussian_16d.

    The error is the distance of (theta, F) from the data's parameters.
    """

    name: ClassVar[str] = "gaussian-16d"

    learning_rate: tuple[float, ...] = (0.1,)
    """Axis. Learning rate of SGD, on the scale of the paper's loss, which is half of ours."""
    dim: int = 16
    """Number of dimensions."""


@dataclasses.dataclass(frozen=True)
class Toy2d(Sweep):
    """A network as the energy of a toy, as in experiments/toy_2d.

    The error is KL(data : model), by quadrature.
    """

    axes: ClassVar[tuple[str, ...]] = (*Sweep.axes, "noise_variance")
    name: ClassVar[str] = "toy-2d"

    learning_rate: tuple[float, ...] = (1e-3,)
    """Axis. Learning rate of Adam, which does not depend on the scale of the loss."""
    noise_variance: tuple[float, ...] = (2.0,)
    """Axis. Variance of both coordinates of the Gaussian noise."""
    toy: Literal["8-gaussians", "pinwheel"] = "8-gaussians"
    """Name of the data."""
    hidden: tuple[int, ...] = (128, 64)
    """Widths of the network."""
    num_cells: int = 160
    """Number of quadrature cells per side of the square."""


@dataclasses.dataclass(frozen=True)
class Plot:
    """Draw a stored sweep: median over seeds with a band from 16 to 84 %.

    Failed lanes are excluded and marked.
    """

    file: tyro.conf.Positional[Path]
    """The result file or its folder."""
    value: str = "error"
    """Variable to draw; an unknown name lists all of them."""
    x: str | None = None
    """Axis to draw it against [the first axis with several values, or else the step]."""
    lines: str | None = None
    """Axis with one line per value [the treatment, or else the next axis with several values]."""
    panels: str | None = None
    """Axis with one panel per value."""
    at: tuple[str, ...] = ()
    """Values of other axes, as NAME=VALUE [the last step]."""
    output: Path = Path("build/figures")
    """Folder of the figure."""


Command = (
    Annotated[Gaussian1d, tyro.conf.subcommand("gaussian-1d")]
    | Annotated[Gaussian16d, tyro.conf.subcommand("gaussian-16d")]
    | Annotated[Toy2d, tyro.conf.subcommand("toy-2d")]
    | Annotated[Plot, tyro.conf.subcommand("plot")]
)
