"""Records of a run as JSON lines, each with a checksum; damaged lines are moved aside."""

import json
import math
import os
import warnings
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nce_jax._disk import DamagedFileError, free_name, open_plain, parse_json, write_atomic

_CHECKSUM = "checksum"
_LINE_LIMIT = 2**20
"""Longest line in bytes that is read; a record of a run has some hundred."""
_FILE_LIMIT = 2**32
"""Largest file in bytes that is read: some ten million records, which memory would hold."""


class RecordWarning(UserWarning):
    """Lines of `metrics.jsonl` or `evaluations.jsonl` are damaged or missing."""


class RecordsFile:
    """A file of one JSON object per line, with a checksum in each.

    When a run is resumed, a last line that a killed process did not finish is dropped, and other
    damaged lines are moved to a file beside this one. With several processes one is the writer; the
    others read the file, and keep their records in memory.
    """

    def __init__(self, path: Path | None, is_writer: bool = True) -> None:
        self.path, self._is_writer = path, is_writer
        self.records: list[dict[str, Any]] = []

    def exists(self) -> bool:
        return self.path is not None and os.path.lexists(self.path)

    def keep_until(self, step: int, count: int | None, is_writable: bool = True) -> None:
        """Keeps the lines up to `step`; later steps will be computed again.

        Args:
          step: the step from which the run goes on.
          count: number of records up to that step; None where it is not known.
          is_writable: whether the file may be written again.
        """
        if self.path is not None and self.exists():
            lines = _read_lines(self.path)
            damaged = [line for line in lines if isinstance(line.record, str)]
            sound = [line.record for line in lines if not isinstance(line.record, str)]
            self.records = [record for record in sound if record["step"] <= step]
            if self._is_writer and is_writable:
                self._move_aside(damaged)
                is_whole = not lines or lines[-1].text.endswith(b"\n")
                self._rewrite(len(self.records) < len(lines) or not is_whole)
            elif self._is_writer and damaged:
                self._warn(f"{_describe(damaged)}; the others are used")
        if self._is_writer and count is not None and len(self.records) < count:
            self._warn(
                f"expected {count} records up to step {step}, got {len(self.records)}; the"
                " others are lost"
            )

    def append(self, records: Sequence[Mapping[str, Any]], is_writable: bool = True) -> None:
        self.records += [dict(record) for record in records]
        if self.path is None or not records or not self._is_writer or not is_writable:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write("".join(map(_line, records)))

    def _move_aside(self, damaged: list["_Line"]) -> None:
        assert self.path is not None
        # The last line of a process that was killed is an ordinary end, and of steps to come.
        if damaged and not damaged[-1].text.endswith(b"\n"):
            damaged = damaged[:-1]
        if damaged:
            aside = free_name(self.path)
            write_atomic(aside, b"".join(line.text for line in damaged))
            self._warn(f"{_describe(damaged)}; moved to {aside}, the others are used")

    def _rewrite(self, has_changed: bool) -> None:
        assert self.path is not None
        if has_changed:
            write_atomic(self.path, "".join(map(_line, self.records)))

    def _warn(self, message: str) -> None:
        warnings.warn(f"{self.path}: {message}", RecordWarning, stacklevel=6)


class _Line:
    """A line of the file: its text, and its record or what is wrong with it."""

    def __init__(self, number: int, text: bytes, last_step: int) -> None:
        self.number, self.text = number, text
        self.record: dict[str, Any] | str
        try:
            self.record = _record(text, last_step)
        except DamagedFileError as error:
            self.record = str(error)


def _read_lines(path: Path) -> list[_Line]:
    lines: list[_Line] = []
    last_step = 0
    with open_plain(path, _FILE_LIMIT) as file:
        while text := file.readline(_LINE_LIMIT):
            lines.append(_Line(len(lines) + 1, text, last_step))
            record = lines[-1].record
            last_step = last_step if isinstance(record, str) else record["step"]
    return lines


def _record(text: bytes, last_step: int) -> dict[str, Any]:
    """The record of a line; raises a DamagedFileError unless it is one that was written here."""
    record = parse_json(text, "record")
    if not isinstance(record, dict):
        raise DamagedFileError(f"record: expected a JSON object, got {type(record).__name__}")
    checksum = record.pop(_CHECKSUM, None)
    for name, value in record.items():
        if value is not None and type(value) not in (int, float):
            shown = repr(value) if isinstance(value, str) else type(value).__name__
            raise DamagedFileError(f"record: expected a number at {name!r}, got {shown}"[:200])
    if checksum != _checksum(record):
        raise DamagedFileError(f"record: expected the checksum of its record, got {checksum}")
    step = record.get("step")
    if type(step) is not int or step <= last_step:
        raise DamagedFileError(f"record: expected a step after {last_step}, got {step}")
    return record


def _line(record: Mapping[str, Any]) -> str:
    record = _json_safe(record)
    return f"{json.dumps({**record, _CHECKSUM: _checksum(record)})}\n"


def _checksum(record: Mapping[str, Any]) -> str:
    """CRC-32 of a record's values: the white space of a line does not matter."""
    return f"{zlib.crc32(json.dumps(record).encode()):08x}"


def _json_safe(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record with null for NaN and infinities, which JSON does not have."""
    return {
        k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in record.items()
    }


def _describe(damaged: list[_Line]) -> str:
    numbers = ", ".join(str(line.number) for line in damaged[:5])
    more = f" and {len(damaged) - 5} more" if len(damaged) > 5 else ""
    lines = f"line {numbers} is" if len(damaged) == 1 else f"lines {numbers}{more} are"
    return f"{lines} damaged ({damaged[0].record})"


def history(records: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    """Records as columns."""
    names = dict.fromkeys(name for record in records for name in record)
    return {
        name: np.asarray([record.get(name, np.nan) for record in records], float) for name in names
    }
