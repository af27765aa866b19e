"""The settings of a sweep in its folder, which a resumed one has to repeat."""

import dataclasses
import json
import warnings
from pathlib import Path
from typing import Any

from experiments.common import results
from experiments.sweep.arguments import Sweep
from experiments.sweep.checks import UsageError
from nce_jax._disk import DamagedFileError, read_json, sha256_of_json

FILE = "settings.json"


def store(sweep: Sweep) -> Sweep:
    """Writes the settings to the folder, or compares them with those stored there.

    Returns the sweep with the stored treatments before its own, since each is computed and stored
    by itself. Damaged settings cost nothing but these names: the chunks are compared with the
    sweep as well.
    """
    path = sweep.folder / FILE
    stored = _stored(path)
    # Without the earlier ones the result would lose what was computed for them.
    treatments = dict.fromkeys((*stored.get("treatment", ()), *sweep.treatment))
    sweep = dataclasses.replace(sweep, treatment=tuple(treatments))
    settings = json.loads(json.dumps({"experiment": sweep.name, **sweep.settings()}))
    for name, saved in stored.items():
        if name != "treatment" and saved != settings.get(name):
            raise UsageError(
                f"{name}: expected {saved} as in the sweep in {sweep.folder}, got"
                f" {settings.get(name)}"
            )
    results.write_json(path, {**settings, "sha256": sha256_of_json(settings)})
    return sweep


def _stored(path: Path) -> dict[str, Any]:
    """Returns the settings in a file; none, with a warning unless it is missing, if damaged."""
    try:
        stored = read_json(path)
        if isinstance(stored, dict) and stored.pop("sha256", None) == sha256_of_json(stored):
            return stored
        reason = "the digest differs"
    except FileNotFoundError:
        return {}
    except DamagedFileError as error:
        reason = str(error)
    warnings.warn(f"{path}: damaged ({reason}); written again", stacklevel=2)
    return {}
