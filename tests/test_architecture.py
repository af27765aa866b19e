"""The house: which room may import which, what stays light, how long a file and a function may
be.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAX_FILE_LINES, MAX_BODY_LINES = 350, 50

# A room (a module or folder of nce_jax) imports only from floors below its own, never from a
# sibling.
FLOORS = {
    "_types": 0, "_archives": 0, "_checks": 0, "_contracts": 0, "_disk": 0, "_samples": 0,
    "_shared": 0, "_ranges": 0, "_numerics": 0, "_eager": 0, "_offset": 0, "_padding": 0,
    "_bridges": 0, "_describe": 0, "_dtypes": 0, "_options": 0, "_partial": 0, "_promotion": 0,
    "_dependence": 0, "_folds": 0, "_ragged": 0, "_laplacian": 0, "_distributions": 0,
    "_grouped": 0, "_slope": 0, "_levels": 0,
    "_extras": 0, "_updates": 0,
    "losses": 1, "log_partition": 1, "noise": 1, "models": 1, "sweeps": 1, "toys": 1,
    "criteria": 2, "diagnostics": 2, "magnification": 2, "samplers": 2,
    "free_energy": 3, "likelihood": 3, "training": 3,
    "adaptive_noise": 4, "alchemlyb": 4, "critics": 4, "latent": 4, "ratio_estimation": 4,
    "telescoping": 4,
    "plots": 5, "sklearn": 5,
    "commands": 6,
}  # fmt: skip

# Third-party packages, and the rooms that alone may import them.
FENCES = {
    "blackjax": {"samplers"},
    "distrax": {"noise", "adaptive_noise"},
    "flax": {"models", "adaptive_noise"},
    "matplotlib": {"plots"},
    "optax": {"training", "adaptive_noise", "critics", "latent", "ratio_estimation", "telescoping"},
    "orbax": {"training"},
    "pandas": {"alchemlyb"},
    "sklearn": {"alchemlyb", "diagnostics", "sklearn"},
    "tensorflow_probability": set(),
    "tqdm": {"training", "sweeps", "telescoping"},
    "tyro": {"commands"},
    "xarray": {"commands", "sweeps"},
}
HEAVY = sorted({*FENCES} - {"tqdm"})


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def imports(path: Path, root: Path = ROOT) -> Iterator[tuple[str, int]]:
    """Dotted name and line of everything a file imports, anywhere in it; relative imports
    resolved.
    """
    package = path.relative_to(root).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            stem = [*above, *([node.module] if node.module else [])]
            yield from ((".".join([*stem, alias.name]), node.lineno) for alias in node.names)


def library_violations(path: Path, root: Path = ROOT) -> Iterator[str]:
    where = path.relative_to(root)
    room = where.with_suffix("").parts[1]
    if room == "__init__":  # the entrance hands on names of every floor
        return
    if room not in FLOORS:
        yield f"{where}: {room} is no room of FLOORS"
        return
    for name, line in imports(path, root):
        top, *rest = name.split(".")
        if room not in FENCES.get(top, {room}):
            yield f"{where}:{line}: {room} imports {top}"
        if top in ("experiments", "benchmarks", "tests"):
            yield f"{where}:{line}: the library imports {top}"
        if top == "nce_jax":
            other = rest[0] if rest else ""
            below = other in FLOORS and (
                FLOORS[other] < FLOORS[room] or FLOORS[other] == FLOORS[room] == 0
            )
            if other != room and not below:
                yield f"{where}:{line}: {room} imports {name}, which is not on a floor below"
            elif other != room and any(part.startswith("_") for part in rest[1:]):
                yield f"{where}:{line}: {room} imports {name}, which is private to {other}"


# No experiment of its own but the command that sweeps the problems of others, which it takes from
# where they are defined.
COMMANDS = {"sweep": {"gaussian_16d", "toy_2d"}}
# Files of the library and of the experiments are written and read by the same functions.
FILES = {"nce_jax._archives", "nce_jax._disk"}


def experiment_violations(path: Path, root: Path = ROOT) -> Iterator[str]:
    """Experiments use public names of the library and its files, and no other experiment."""
    where = path.relative_to(root)
    allowed = {"common", where.parts[1], *COMMANDS.get(where.parts[1], ())}
    for name, line in imports(path, root):
        parts = name.split(".")
        is_private = parts[0] == "nce_jax" and any(part.startswith("_") for part in parts)
        if is_private and ".".join(parts[:2]) not in FILES:
            yield f"{where}:{line}: imports {name}, which is private"
        if parts[0] == "experiments" and len(parts) > 1 and parts[1] not in allowed:
            yield f"{where}:{line}: imports {name}, another experiment"


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from the first statement after the docstring to the last."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


def length_violations(path: Path, root: Path = ROOT) -> Iterator[str]:
    where, text = path.relative_to(root), path.read_text()
    if (count := len(text.splitlines())) > MAX_FILE_LINES:
        yield f"{where}: {count} lines, at most {MAX_FILE_LINES}"
    for node in ast.walk(ast.parse(text)):
        if (
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and body_lines(node) > MAX_BODY_LINES
        ):
            yield (
                f"{where}:{node.lineno}: {node.name} has {body_lines(node)} lines, at most"
                f" {MAX_BODY_LINES}"
            )


def test_library_imports_only_from_floors_below():
    assert [
        violation for path in sources("nce_jax") for violation in library_violations(path)
    ] == []


def test_experiments_import_public_names_and_no_other_experiment():
    assert [
        violation for path in sources("experiments") for violation in experiment_violations(path)
    ] == []


def test_files_and_functions_are_short():
    paths = sources("nce_jax", "experiments", "benchmarks")
    assert [violation for path in paths for violation in length_violations(path)] == []


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        (
            "nce_jax/losses/_a.py",
            "from nce_jax.log_partition import newton",
            "not on a floor below",
        ),
        ("nce_jax/losses/_a.py", "from ..log_partition import newton", "not on a floor below"),
        ("nce_jax/losses/_a.py", "from nce_jax import nce_loss", "not on a floor below"),
        ("nce_jax/losses/_a.py", "def f():\n    import optax.losses", "imports optax"),
        ("nce_jax/losses/_a.py", "import experiments.common", "the library imports experiments"),
        ("nce_jax/parlor.py", "", "no room"),
        (
            "nce_jax/losses/_a.py",
            "from nce_jax.losses import _b\nfrom .. import _numerics\nimport jax",
            "",
        ),
        ("nce_jax/training/_a.py", "import optax\nfrom nce_jax.criteria import Criterion", ""),
        ("nce_jax/_numerics.py", "from nce_jax._types import LogRatio", ""),
        ("nce_jax/criteria/_a.py", "from nce_jax.losses._binary import nce_loss", "private to"),
        ("nce_jax/criteria/_a.py", "from nce_jax.losses import _binary", "private to"),
        ("nce_jax/criteria/_a.py", "from nce_jax.log_partition.solve import root_of", ""),
    ],
)
def test_the_import_rule_sees_what_it_should(tmp_path, path, text, expected):
    file = tmp_path / path
    file.parent.mkdir(parents=True)
    file.write_text(text)
    violations = list(library_violations(file, tmp_path))
    assert (expected in violations[0] and len(violations) == 1) if expected else violations == []


def test_importing_the_library_stays_light():
    code = f"import sys, nce_jax; print([name for name in {HEAVY} if name in sys.modules])"
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert process.returncode == 0, process.stderr
    assert process.stdout.strip() == "[]"
