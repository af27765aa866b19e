"""Lines of the table that the check prints as it goes."""

from collections.abc import Iterator, Mapping
from typing import Any

_SECONDS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))
_PREFIXES = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"))


def lines(name: str, entry: Mapping[str, Any]) -> Iterator[str]:
    """A part: its status, then its rows and amounts."""
    error = f": {entry['error']}" if entry.get("error") else ""
    yield f"{name}, {entry['seconds']:.1f} s: {entry['status']}{error}"
    for row in entry.get("rows", []):
        yield _line(
            row["name"],
            f"{duration(row['our_seconds']['median'])} a {row['unit']}",
            f"{_ratio(row)} {row['ratio']['median']:.3g}"
            f" ({row['ratio']['lower']:.3g} to {row['ratio']['upper']:.3g})",
            f"{row['over_floor']['median']:.3g} x {row['floor_what']}" if row["over_floor"] else "",
            _aim(row["direction"], row["target"], row["verdict"]),
        )
    for amount in entry.get("amounts", []):
        yield _line(
            amount["name"],
            quantity(amount["value"]["median"], amount["unit"]),
            ", ".join(f"{what} {value:.4g}" for what, value in amount["beside"].items()),
            _aim("at most", amount["target"], amount["verdict"]),
        )


def _ratio(row: Mapping[str, Any]) -> str:
    ours, peer = row["ours"], row["peer"]
    return f"over {peer}" if row["direction"] == "at most" else f"{peer} over {ours}"


def _aim(direction: str, target: float | None, verdict: str) -> str:
    return verdict if target is None else f"{direction} {target:g}: {verdict}"


def _line(name: str, *cells: str) -> str:
    return f"  {name:<46} " + "; ".join(cell for cell in cells if cell)


def duration(seconds: float) -> str:
    """Seconds with three digits, in s, ms or µs."""
    unit, name = next((pair for pair in _SECONDS if seconds >= pair[0]), _SECONDS[-1])
    return f"{seconds / unit:.3g} {name}"


def quantity(value: float, unit: str) -> str:
    """A value with its unit: seconds, bytes and operations in a readable multiple."""
    if unit == "s":
        return duration(value)
    scale, prefix = next((pair for pair in _PREFIXES if value >= pair[0]), (1.0, ""))
    if unit in ("B", "B/s", "FLOP/s"):
        return f"{value / scale:.4g} {prefix}{unit}"
    return f"{value:.4g} {unit}"
