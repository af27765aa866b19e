"""Every command of the experiments ends in one line where it cannot be carried out."""

import dataclasses
import runpy
import sys
from pathlib import Path

import jax
import pytest

from experiments.common import cli
from nce_jax._disk import FolderLock

pytestmark = [
    pytest.mark.slow,
    # Other tests of this process have imported the module that is run.
    pytest.mark.filterwarnings("ignore:.*found in sys.modules after import:RuntimeWarning"),
]

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
TOPICS = sorted(path.parent.name for path in EXPERIMENTS.glob("*/run.py"))


@pytest.fixture
def command(monkeypatch, capsys):
    """`command(topic, *argv)` gives exit status and stderr of `python -m experiments.topic.run`.

    Reaching the computation fails the test.
    """

    def never(*_):
        pytest.fail("the experiment was computed")

    monkeypatch.setattr(cli, "_run", never)

    def run(topic, *argv):
        monkeypatch.setattr(sys, "argv", ["run", *map(str, argv)])
        with jax.numpy_rank_promotion("allow"), pytest.raises(SystemExit) as stopped:
            runpy.run_module(f"experiments.{topic}.run", run_name="__main__")
        return stopped.value.code, capsys.readouterr().err

    return run


def test_there_are_commands():
    assert len(TOPICS) > 15


@pytest.mark.parametrize("topic", TOPICS)
def test_an_output_that_cannot_be_written_to_is_one_line(topic, command, tmp_path):
    file = tmp_path / "file"
    file.write_text("mine")
    for output in ("/dev/null", "/dev/null/below", file, file / "below"):
        status, said = command(topic, "--output", output)
        assert status == 2
        assert said.startswith(
            f"error: output: expected a folder that can be written to, got {output} ("
        )
        assert said.count("\n") == 1
    with FolderLock(tmp_path):
        status, said = command(topic, "--output", tmp_path)
    assert status == 2
    assert said.startswith("error: output: expected a folder that no other run uses")
    assert said.count("\n") == 1


@pytest.mark.parametrize("topic", TOPICS)
def test_a_count_beyond_every_program_is_one_line(topic, command, tmp_path, monkeypatch):
    presets = runpy.run_module(f"experiments.{topic}.run")["PRESETS"]
    config = next(iter(presets.values()))
    counts = [f.name for f in dataclasses.fields(config) if type(getattr(config, f.name)) is int]
    assert "seed" in counts
    for name in counts:
        argument = f"--{name.replace('_', '-')}"
        status, said = command(topic, argument, 10**11, "--output", tmp_path)
        assert status == 2
        assert said == f"error: {name}: expected an integer of at most 2147483647, got {10**11}\n"
