"""language_model: texts, steps and evaluation by hand; the smoke preset runs and plots."""

import dataclasses

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest

from experiments.common import pieces, results
from experiments.common.published import DataError
from experiments.language_model import losses, text, train
from experiments.language_model.config import PRESETS, Config
from experiments.language_model.measures import evaluate
from experiments.language_model.plot import draw
from experiments.language_model.run import experiment

LINES = ["the cat sat on the mat", "the dog sat", "a cat saw the dog"] * 60


@pytest.fixture
def config(tmp_path) -> Config:
    path = tmp_path / "text.txt"
    path.write_text("\n".join([*LINES, "once"]) + "\n")
    return dataclasses.replace(
        PRESETS["smoke"], text=str(path), unit="word", batch_size=4, length=5, num_epochs=3
    )


def test_ids_are_ranks_and_rare_words_are_one(config):
    corpus = text.load(config)
    assert corpus.words[:2] == ("the", "<eos>")
    assert corpus.words[-1] == "<unk>"
    assert list(corpus.counts) == sorted(corpus.counts, reverse=True)
    assert [corpus.words[i] for i in corpus.train[:7]] == [
        "the",
        "cat",
        "sat",
        "on",
        "the",
        "mat",
        "<eos>",
    ]
    assert corpus.words[corpus.test[-2]] == "<unk>"  # "once" is in the test text alone
    assert (
        len(corpus.test)
        == (len(corpus.train) + len(corpus.test)) - (len(corpus.train) + len(corpus.test)) * 9 // 10
    )


def test_characters_and_a_second_file(config, tmp_path):
    (tmp_path / "other.txt").write_text("the end" * 3)
    corpus = text.load(
        dataclasses.replace(config, unit="character", test_text=str(tmp_path / "other.txt"))
    )
    assert [corpus.words[i] for i in corpus.test[:7]] == list("the end")


def test_what_is_no_text_is_named(config, tmp_path):
    with pytest.raises(DataError, match=r"missing\.txt: cannot be read as text"):
        text.load(dataclasses.replace(config, text=str(tmp_path / "missing.txt")))
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="binary: cannot be read"):
        text.load(dataclasses.replace(config, text=str(tmp_path / "binary")))
    (tmp_path / "endless").symlink_to("/dev/zero")
    with pytest.raises(DataError, match="endless: cannot be read .* a plain file, got a device"):
        text.load(dataclasses.replace(config, text=str(tmp_path / "endless")))
    (tmp_path / "short.txt").write_text("a few words")
    with pytest.raises(DataError, match=r"short\.txt: expected 24 tokens or more"):
        text.load(dataclasses.replace(config, text=str(tmp_path / "short.txt")))


def test_places_follow_one_another():
    inputs, targets = train.as_sequences(np.arange(11), 3)
    np.testing.assert_array_equal(inputs, [[0, 1, 2], [3, 4, 5], [6, 7, 8]])
    np.testing.assert_array_equal(targets, inputs + 1)


@pytest.mark.costly
def test_the_perplexity_of_rows_of_zero_is_the_number_of_words(config):
    corpus = text.load(config)
    trained = train.train(
        dataclasses.replace(config, num_epochs=1),
        corpus,
        train.Method(losses.FULL, 0),
        jax.random.key(0),
    )
    flat = trained.params._replace(table=jax.tree.map(jnp.zeros_like, trained.params.table))
    actual = evaluate(config, trained._replace(params=flat), corpus.test)
    np.testing.assert_allclose(actual["perplexity"], len(corpus.words), rtol=1e-5)
    np.testing.assert_allclose(actual["log_z_mean"], np.log(len(corpus.words)), rtol=1e-5)


@pytest.mark.costly
@pytest.mark.parametrize("loss", [losses.FULL, *losses.LOSSES])
def test_every_method_learns_a_text_that_repeats(config, loss):
    corpus = text.load(config)
    config = dataclasses.replace(config, learning_rate=0.03, num_epochs=10, dropout=0.0)
    count = 0 if loss == losses.FULL else 16
    trained = train.train(config, corpus, train.Method(loss, count), jax.random.key(0))
    actual = evaluate(config, trained, corpus.test)
    # Three lines in turn: all but the first words of a line are certain, or nearly; the unigram's
    # perplexity is 8.
    assert actual["perplexity"] < 2.5
    assert trained.seconds > 0
    if loss in losses.NCE:
        assert abs(actual["log_z_mean"]) < 0.5


def test_the_grid_names_every_method_once():
    grid = train.methods(Config())
    assert len(set(grid)) == len(grid) == 1 + 3 + 3 * 3 * 3 + 5


@pytest.mark.costly
def test_the_smoke_preset_runs_and_is_drawn(smoke_result, tmp_path, monkeypatch):
    monkeypatch.setattr(pieces, "RUNS", tmp_path / "runs")
    result = smoke_result("language_model", PRESETS["smoke"], experiment)
    assert result.arrays["perplexity"].shape == (len(train.methods(PRESETS["smoke"])), 1)
    assert 1 < result.headline["full_softmax"] < 70
    assert not result.failed_lanes
    results.save(tmp_path, result)
    assert set(draw(results.load(tmp_path, ""))) == {"language_model", "language_model_log_z"}
    plt.close("all")
