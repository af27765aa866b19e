"""Every alchemtest set that alchemlyb parses, with its results by alchemlyb, written into a folder.

A program of its own: pymbar, below alchemlyb, changes JAX's precision for the whole process.
"""

import bz2
import importlib
import pickle
import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tyro

ENGINES = ("gmx", "namd", "amber", "gomc")
TEMPERATURES = {"gmx": 300.0, "namd": 300.0, "gomc": 298.0}
# Of one simulation forwards and one backwards, which fill in each other's missing columns.
MERGED = {"tyr2ala"}
# For the tests of alchemlyb's parsers: not simulations of one system.
BROKEN = {"testfiles"}


def legs(data: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, list[Any]]]:
    """The lists of files in a set, with their names."""
    if isinstance(data, dict):
        for name, part in data.items():
            yield from legs(part, (*path, str(name)))
    else:
        yield "/".join(path), list(data)


def tables(engine: str, every: int) -> Iterator[tuple[str, Any]]:
    """The u_nk table of every leg that has one, of each `every`th set."""
    package = importlib.import_module(f"alchemtest.{engine}")
    parser = importlib.import_module(f"alchemlyb.parsing.{engine}")
    names = sorted(n.removeprefix("load_") for n in dir(package) if n.startswith("load_"))
    for name in [name for name in names if name not in BROKEN][::every]:
        found = dict(legs(getattr(package, f"load_{name}")()["data"]))
        parsed = {leg: parse(parser, engine, files) for leg, files in found.items()}
        if name in MERGED:
            parsed = {"both": merge(*parsed.values())}
        for leg, u_nk in ((leg, u_nk) for leg, u_nk in parsed.items() if u_nk is not None):
            yield f"{engine}-{name}-{leg}".replace("/", "-").rstrip("-"), u_nk


def parse(parser: Any, engine: str, files: list[Any]) -> Any:
    """The table of some files; None where they hold no energies in other states."""
    from alchemlyb import concat

    if engine == "namd":  # one table of all files
        return parser.extract_u_nk(files, T=TEMPERATURES[engine])
    options = {"filter": False} if engine == "gmx" else {}
    temperature = TEMPERATURES.get(engine) or stated_temperature(files[0])
    parts = [parser.extract_u_nk(file, T=temperature, **options) for file in files]
    return None if any(part is None for part in parts) else concat(parts)


def stated_temperature(file: Any) -> float:
    """The temperature in an output file of AMBER."""
    text = bz2.decompress(Path(file).read_bytes()).decode()
    return float(re.search(r"temp0\s*=\s*([0-9.]+)", text).group(1))


def merge(forward: Any, backward: Any) -> Any:
    merged = forward.where(forward.notna(), backward)
    merged.attrs = forward.attrs
    return merged


def results(u_nk: Any) -> dict[str, Any]:
    """What alchemlyb's estimators say, or why they say nothing."""
    from alchemlyb.estimators import BAR, MBAR

    found: dict[str, Any] = {"u_nk": u_nk}
    for estimator in (MBAR(relative_tolerance=1e-12), BAR(relative_tolerance=1e-12)):
        name = type(estimator).__name__
        try:
            found[name] = fitted(estimator, u_nk)
        except Exception as error:  # of any kind: pymbar's own
            found[name] = f"{type(error).__name__}: {error}"
    return found


def fitted(estimator: Any, u_nk: Any) -> dict[str, Any]:
    from pandas.errors import IndexingError

    try:
        estimator.fit(u_nk)
    except IndexingError:  # of its start by BAR, where states without samples are among the columns
        estimator.set_params(initial_f_k=None).fit(u_nk)
    names = (
        "delta_f_",
        "d_delta_f_",
        *(["overlap_matrix"] if hasattr(estimator, "theta_") else []),
    )
    return {name: getattr(estimator, name) for name in names}


def main(folder: tyro.conf.Positional[Path], every: int = 1) -> None:
    """Write the results of every n-th set of each engine into a folder."""
    warnings.simplefilter("ignore")
    for engine in ENGINES:
        for name, u_nk in tables(engine, every):
            path = folder / f"{name}.pickle"
            path.write_bytes(pickle.dumps(results(u_nk)))
            print(path.name, u_nk.shape, flush=True)


def import_pymbar_without_jax() -> None:
    """It computes by NumPy then. SciPy looks for JAX later, and needs a module or none."""
    sys.modules["jax"] = None  # type: ignore[assignment]
    importlib.import_module("alchemlyb.estimators")
    del sys.modules["jax"]


if __name__ == "__main__":
    import_pymbar_without_jax()
    tyro.cli(main)
