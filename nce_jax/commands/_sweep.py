"""`nce-sweep`: shows what a stored sweep holds, and draws it."""

import dataclasses
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import numpy as np

from nce_jax._describe import describe
from nce_jax._disk import errors_name, write_atomic
from nce_jax._extras import missing_extra
from nce_jax.sweeps import load_sweep

if TYPE_CHECKING:
    import xarray

CONTENTS = "contents.npz"
"""File that a folder of chunks has, and one with the result of a command of the experiments not."""

_OPTIONS = {"axis": "x", "variable": "value", "folder": "path"}
"""Options of the command by the arguments of the library, for error texts."""


@dataclasses.dataclass(frozen=True)
class Show:
    """Show the axes, the variables and the failed lanes of a stored sweep."""

    path: Path
    """Folder that sweep(folder=...) has written, or a netCDF file."""
    allow_missing: bool = False
    """Read a sweep whose chunks are not complete."""


@dataclasses.dataclass(frozen=True)
class Plot:
    """Draw a stored sweep: the median over seeds, with a band from 16 to 84 %.

    Failed lanes are left out and marked.
    """

    path: Path
    """Folder that sweep(folder=...) has written, or a netCDF file."""
    value: str | None = None
    """Variable to draw; an unknown name lists all of them [the first one]."""
    x: str | None = None
    """Axis to draw it against [the first axis with several values]."""
    lines: str | None = None
    """Axis with one line per value [the next axis with several values]."""
    panels: str | None = None
    """Axis with one panel per value."""
    at: tuple[str, ...] = ()
    """Values of other axes, as NAME=VALUE."""
    over: str = "seed"
    """Axis whose spread is the band."""
    output: Path = Path("sweep.png")
    """File of the figure; its ending is the format."""
    allow_missing: bool = False
    """Read a sweep whose chunks are not complete."""


def nce_sweep(argv: Sequence[str] | None = None) -> None:
    """Runs the command `nce-sweep`, which shows and draws stored sweeps.

    `nce-sweep show FOLDER` prints axes, variables and failed lanes, and `nce-sweep plot FOLDER
    --value error --x magnification --lines treatment` draws; `--help` has all options. Whatever
    goes wrong is one line on stderr, and the exit status is then 2.

    Args:
      argv: the arguments after the name of the command; None takes those of the process.

    Raises:
      TypeError: `argv` is no list of texts.
      SystemExit: the arguments or the folder are wrong, or an extra is missing.

    Examples:
      >>> import tempfile
      >>> import jax.numpy as jnp
      >>> import nce_jax
      >>> from nce_jax import commands
      >>> axes = {"a": jnp.arange(2.0), "seed": jnp.arange(3.0)}
      >>> folder = tempfile.mkdtemp()
      >>> result = nce_jax.sweep(
      ...     lambda a, seed: {"total": a + seed}, axes, folder=folder, progress=False
      ... )
      >>> commands.nce_sweep(["show", folder])
      axis a: 2 values, 0 to 1
      axis seed: 3 values, 0 to 2
      variable total (a, seed): float32, median 1.5
      failed: 0 of 6 lanes
      ...
    """
    is_list = isinstance(argv, list | tuple) and all(isinstance(text, str) for text in argv)
    if argv is not None and not is_list:
        raise TypeError(f"argv: expected a list of texts, got {describe(argv)}")
    try:
        import tyro
    except ImportError:
        _end(str(missing_extra("nce-sweep needs tyro", "sweeps")))
    commands = (
        Annotated[Show, tyro.conf.subcommand("show")]
        | Annotated[Plot, tyro.conf.subcommand("plot")]
    )
    arguments = tyro.cli(
        commands,
        args=argv,
        prog="nce-sweep",
        description="Show or draw a stored sweep.",
        config=(tyro.conf.PositionalRequiredArgs,),
    )
    try:
        if isinstance(arguments, Plot):
            _plot(arguments)
        else:
            _show(arguments)
    except (ImportError, OSError, TypeError, ValueError) as error:
        name, separator, text = str(error).partition(":")
        names = [_OPTIONS.get(part, part) for part in name.split(", ")]
        text = text.replace("allow_missing=True", "--allow-missing")
        _end(", ".join(names) + separator + text)


def _open(path: Path, allow_missing: bool) -> "xarray.Dataset":
    """The sweep as a Dataset: of a folder with its chunks, or of a netCDF file, or one in a folder.

    Raises an OSError, a ValueError or an ImportError.
    """
    try:
        import xarray
    except ImportError as error:
        raise missing_extra("nce-sweep needs xarray", "sweeps") from error
    files = sorted(path.glob("*.nc")) if path.is_dir() else []
    if len(files) == 1 and not (path / CONTENTS).exists():
        path = files[0]
    if path.is_file():
        return xarray.load_dataset(path)
    return load_sweep(path, allow_missing=allow_missing).to_xarray()


def _show(arguments: Show) -> None:
    dataset = _open(arguments.path, arguments.allow_missing)
    for name in dataset.dims:
        print(f"axis {name}: {_values(dataset[name].values)}")
    for name, variable in dataset.data_vars.items():
        if name not in _masks(dataset):
            values = np.asarray(variable.values)
            dims = ", ".join(map(str, variable.dims))
            print(f"variable {name} ({dims}): {values.dtype}{_median(_computed(dataset, name))}")
    if "failed" in dataset:
        failed = dataset["failed"].values
        if "missing" in _masks(dataset):
            missing = dataset["missing"].values
            failed = failed[~missing]
            print(f"missing: {int(missing.sum())} of {missing.size} lanes, not computed")
        print(f"failed: {int(failed.sum())} of {failed.size} lanes")
    for name, value in dataset.attrs.items():
        print(f"{name}: {value}")


def _masks(dataset: "xarray.Dataset") -> set[str]:
    """The variables that say which lanes count, and are not measured."""
    return {"failed"} | ({"missing"} if "missing_lanes" in dataset.attrs else set())


def _computed(dataset: "xarray.Dataset", name: Any) -> Any:
    """The values of a variable in the lanes that have been computed: integers have no NaN."""
    values = np.asarray(dataset[name].values)
    if "missing" not in _masks(dataset):
        return values
    is_missing = dataset["missing"].broadcast_like(dataset[name]).transpose(*dataset[name].dims)
    return values[~np.asarray(is_missing.values)]


def _values(values: Any) -> str:
    count = f"{len(values)} value" + "s" * (len(values) != 1)
    if not np.issubdtype(values.dtype, np.number) or len(values) == 1:
        return f"{count}, {', '.join(map(str, values[:8]))}{', ...' if len(values) > 8 else ''}"
    return f"{count}, {values.min():g} to {values.max():g}"


def _median(values: Any) -> str:
    """The median of the finite entries of a variable of numbers, in words."""
    if values.dtype.kind not in "fiu" or not np.isfinite(values).any():
        return ""
    return f", median {np.median(values[np.isfinite(values)]):.4g}"


def _plot(arguments: Plot) -> None:
    from nce_jax import plots  # not at the top: it needs matplotlib

    dataset = _open(arguments.path, arguments.allow_missing)
    variables = [str(name) for name in dataset.data_vars if name not in _masks(dataset)]
    if not variables:
        raise ValueError(f"path: expected a sweep with a variable, got none in {arguments.path}")
    value = arguments.value or variables[0]
    figure = plots.sweep_panels(
        dataset,
        value,
        arguments.x,
        over=arguments.over,
        lines=arguments.lines,
        panels=arguments.panels,
        at=dict(map(_pair, arguments.at)),
    )
    options: dict[str, Any] = {"format": arguments.output.suffix[1:] or "png"}
    with errors_name(arguments.output.parent, "output"):
        write_atomic(arguments.output, partial(figure.savefig, **options))
    print(arguments.output)


def _pair(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator:
        raise ValueError(f"at: expected NAME=VALUE, got {text!r}")
    return name, value


def _end(text: str) -> NoReturn:
    """Prints the text as one line on stderr, and ends with status 2."""
    print(f"error: {' | '.join(text.splitlines())}", file=sys.stderr)
    sys.exit(2)
