"""The command line of the experiments: presets, overrides, help, and the stored result."""

import dataclasses

import jax
import pytest

from experiments.common import cli, results


@dataclasses.dataclass(frozen=True)
class Config:
    num_steps: int = 1000
    """Training steps."""
    rate: float = 0.1
    seed: int = 0


PRESETS = {"smoke": Config(num_steps=3), "paper": Config()}


def experiment(config, key):
    return results.Result(
        {"draws": jax.random.normal(key, (config.num_steps,))}, {"steps": config.num_steps}
    )


@pytest.mark.parametrize(
    ("argv", "preset", "config", "folder"),
    [
        ([], "smoke", PRESETS["smoke"], "build/results/some/smoke"),
        (["--preset", "paper"], "paper", PRESETS["paper"], "build/results/some/paper"),
        (["--preset=paper"], "paper", PRESETS["paper"], "build/results/some/paper"),
        (
            ["--rate", "0.5", "--preset", "paper"],
            "paper",
            Config(rate=0.5),
            "build/results/some/custom",
        ),
        (
            ["--preset", "paper", "--num-steps", "7", "--output", "here"],
            "paper",
            Config(num_steps=7),
            "here",
        ),
    ],
)
def test_preset_and_overrides(argv, preset, config, folder):
    actual = cli.parse("some", PRESETS, argv)
    assert (actual[0], actual[1], str(actual[2])) == (preset, config, folder)


@pytest.mark.parametrize(
    "argv", [["--preset", "huge"], ["--rate", "fast"], ["--no-such-field", "1"]]
)
def test_arguments_that_make_no_sense_are_refused(argv, capsys):
    with pytest.raises(SystemExit) as exit_:
        cli.parse("some", PRESETS, argv)
    assert exit_.value.code != 0
    captured = capsys.readouterr()
    assert argv[-1] in captured.out + captured.err or argv[0] in captured.out + captured.err


def test_help_shows_fields_and_the_defaults_of_the_preset(capsys):
    with pytest.raises(SystemExit):
        cli.parse("some", PRESETS, ["--preset", "paper", "--help"])
    text = capsys.readouterr().out
    assert all(
        word in text
        for word in ("--preset", "smoke,paper", "--num-steps", "Training steps", "1000")
    )


def test_a_run_repeats_and_says_what_it_did(tmp_path, capsys):
    for name in ("first", "second"):
        cli.main(
            "some", PRESETS, experiment, ["--preset", "smoke", "--output", str(tmp_path / name)]
        )
    first, second = (results.load(tmp_path / name, "") for name in ("first", "second"))
    assert (first.arrays["draws"] == second.arrays["draws"]).all()
    assert first.manifest["command"].startswith("python -m experiments.some.run --preset smoke")
    assert first.manifest["config"]["num_steps"] == 3
    assert "steps = 3" in capsys.readouterr().out
