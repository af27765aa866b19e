"""What is released and with which versions: bounds, lock files, the version, the wheel."""

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import nce_jax

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MEASURED = ("alchemlyb", "c2st", "checkpoints", "plots", "samplers", "sweeps")
LOCKS = sorted(path.name for path in ROOT.glob("requirements*.lock"))


def normalized(name: str) -> str:
    return re.sub("[-_.]+", "-", name).lower()


def pins(name: str) -> dict[str, str]:
    """The versions in a lock file; every line but a comment is a plain pin."""
    lines = [line for line in (ROOT / name).read_text().splitlines() if not line.startswith("#")]
    matches = [re.fullmatch(r"([A-Za-z0-9._-]+)==([A-Za-z0-9._]+)", line) for line in lines]
    assert all(matches), [line for line, match in zip(lines, matches, strict=True) if not match]
    return {normalized(match[1]): match[2] for match in matches if match}


def bounds() -> dict[str, str]:
    """The lower bounds of what the library and its extras need."""
    extras = [PROJECT["optional-dependencies"][name] for name in MEASURED]
    needed = [line for lines in [PROJECT["dependencies"], *extras] for line in lines]
    matches = [re.fullmatch(r"([A-Za-z0-9_.-]+)>=([0-9.]+)", line) for line in needed]
    assert all(matches), needed
    return {normalized(match[1]): match[2] for match in matches if match}


def release(version: str) -> tuple[int, ...]:
    numbers = [int(number) for number in re.findall(r"\d+", version.split(".dev")[0])]
    return tuple(numbers[:4] + [0] * (4 - len(numbers)))


@pytest.mark.parametrize("name", LOCKS)
def test_lock_files_hold_plain_pins(name):
    assert pins(name)


def test_the_oldest_versions_are_the_lower_bounds():
    oldest = pins("requirements-oldest.lock")
    assert {name: release(oldest[name]) for name in bounds()} == {
        name: release(version) for name, version in bounds().items()
    }


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-newest.lock"])
def test_the_other_lock_files_are_within_the_bounds(name):
    locked = pins(name)
    assert {
        package: locked[package]
        for package, bound in bounds().items()
        if release(locked[package]) < release(bound)
    } == {}


def test_the_newest_versions_are_no_older_than_the_locked_ones():
    locked, newest = pins("requirements.lock"), pins("requirements-newest.lock")
    assert [name for name in bounds() if release(newest[name]) < release(locked[name])] == []
    assert release(newest["jax"]) > release(locked["jax"])


def test_no_upper_bound_on_python():
    assert PROJECT["requires-python"] == ">=3.11"


def test_the_version_stands_in_one_place():
    assert PROJECT["dynamic"] == ["version"]
    assert "version" not in PROJECT
    cited = re.search(r"^version: (.*)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    assert cited
    assert cited[1] == nce_jax.__version__
    changelog = (ROOT / "docs" / "changelog.md").read_text()
    assert re.search(rf"^## {re.escape(nce_jax.__version__)} \(", changelog, re.MULTILINE)


@pytest.mark.parametrize("path", [".readthedocs.yaml", ".github/workflows/ci.yml", ".ci/run"])
def test_services_call_targets_that_exist(path):
    if not (ROOT / path).exists():
        pytest.skip(f"{path} is no part of an sdist")
    rules = (ROOT / "Makefile").read_text()
    calls = re.findall(
        r"\bmake ((?:[a-z.][a-z./-]*(?:\$\{\{[^}]*\}\})? ?)+)", (ROOT / path).read_text()
    )
    named = re.sub(r"\$\{\{[^}]*\}\}", "oldest", " ".join(calls)).split()
    assert named
    assert [
        name
        for name in named
        if not name.startswith(".venv") and not re.search(rf"^{name}:", rules, re.MULTILINE)
    ] == []


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    pytest.importorskip("hatchling", reason="hatchling builds the wheel: it is in the extra test")
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return folder


def test_the_wheel_is_the_library_alone(dist):
    (wheel,) = dist.glob("*.whl")
    assert wheel.name == f"nce_jax-{nce_jax.__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (metadata,) = [name for name in names if name.endswith(".dist-info/METADATA")]
        text = archive.read(metadata).decode()
    tops = {name.split("/")[0] for name in names}
    assert tops == {"nce_jax", f"nce_jax-{nce_jax.__version__}.dist-info"}
    sources = set((ROOT / "nce_jax").rglob("*.py")) | {ROOT / "nce_jax" / "py.typed"}
    assert {name for name in names if name.startswith("nce_jax/")} == {
        path.relative_to(ROOT).as_posix() for path in sources
    }
    assert f"\nVersion: {nce_jax.__version__}\n" in text
    assert "\nRequires-Python: >=3.11\n" in text
    assert "\nLicense-Expression: Apache-2.0\n" in text


def test_the_sdist_holds_what_a_release_needs(dist):
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames()}
    assert {"docs/changelog.md", "LICENSE", "Makefile", "nce_jax/py.typed", "RELEASING.md"} <= names
    assert set(LOCKS) <= names
    assert not {name for name in names if name.split("/")[0] in ("build", "dist", ".ci", ".venv")}


BLOCKED = """
import importlib, pkgutil, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Blocker())
import nce_jax
for name in sorted(m.name for m in pkgutil.iter_modules(nce_jax.__path__)):
    if not name.startswith("_"):
        try:
            module = importlib.import_module("nce_jax." + name)
            [getattr(module, public) for public in module.__all__]
        except ModuleNotFoundError:
            print(name)
"""


@pytest.mark.costly
@pytest.mark.parametrize(
    ("blocked", "sentence"),
    [
        (("distrax", "tensorflow_probability"), r"only ([^;]*?) need distrax"),
        (("flax",), r"and only ([^;]*?) flax;"),
    ],
)
def test_the_design_names_the_rooms_that_need_a_package(blocked, sentence):
    text = " ".join((ROOT / "docs" / "design.md").read_text().split())
    named = re.findall("`([a-z_]+)`", re.search(sentence, text)[1])
    code = BLOCKED.replace("{blocked}", repr(blocked))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == sorted(named)
