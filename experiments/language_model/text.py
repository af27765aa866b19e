"""Texts as integer ids, in the vocabulary of the training text, ordered by frequency."""

import io
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.common.datasets.texts import SHAKESPEARE
from experiments.common.published import DataError, PublishedFile, read
from experiments.language_model.config import Config
from nce_jax._disk import read_bytes

TEXT_LIMIT = 2**30
"""Largest size in bytes of a text that is read."""
UNKNOWN, END_OF_LINE = "<unk>", "<eos>"

_WIKITEXT = (
    "https://raw.githubusercontent.com/pytorch/examples/main/word_language_model/data/wikitext-2/",
)

# The training text and the test text; a single file is split in two.
TEXTS = {
    "wikitext-2": (
        PublishedFile(
            "wikitext-2",
            "valid.txt",
            1_121_681,
            "f0737ed31fc1329026e95cb8b98e19c2a182c39c240ab909dc31abf2f8af58e8",
            _WIKITEXT,
        ),
        PublishedFile(
            "wikitext-2",
            "test.txt",
            1_256_449,
            "d790b833ef8cf03a90db7bf1271b7520b83c45ce07ba3c1a9699df81e239eca0",
            _WIKITEXT,
        ),
    ),
    "tinyshakespeare": (SHAKESPEARE,),
}


class Corpus(NamedTuple):
    """Ids of the tokens, int32, ordered by frequency, with the counts of all words, (V,).

    Rare words count as <unk>.
    """

    train: np.ndarray
    test: np.ndarray
    counts: np.ndarray
    words: tuple[str, ...]


def load(config: Config) -> Corpus:
    """Loads the texts of a config as ids.

    Raises:
        DataError: a file is missing, is not the published one, is not text, or is too short.
    """
    train, test = (tokens[: config.max_tokens] for tokens in _tokens(config))
    needed = config.batch_size * (config.length + 1)
    if len(train) < needed or len(test) <= config.test_places:
        raise DataError(
            f"{config.text}: expected {needed} tokens or more, got {len(train)}, and {len(test)} to"
            " test on"
        )
    counts = Counter(train)
    words = sorted(
        (word for word in counts if counts[word] >= config.min_count),
        key=lambda word: (-counts[word], word),
    )
    words = words if UNKNOWN in words else [*words, UNKNOWN]
    ids = {word: index for index, word in enumerate(words)}
    sides = (
        np.array([ids.get(token, ids[UNKNOWN]) for token in tokens], np.int32)
        for tokens in (train, test)
    )
    train_ids, test_ids = sides
    # Every count is at least one, so that the noise can produce every word.
    return Corpus(
        train_ids,
        test_ids,
        np.maximum(np.bincount(train_ids, minlength=len(words)), 1),
        tuple(words),
    )


def _tokens(config: Config) -> tuple[list[str], list[str]]:
    texts = [_split(config, text) for text in _texts(config)]
    if len(texts) == 2:
        return texts[0], texts[1]
    cut = len(texts[0]) * 9 // 10
    return texts[0][:cut], texts[0][cut:]


def _texts(config: Config) -> list[str]:
    if config.text in TEXTS:
        return [read(file).decode() for file in TEXTS[config.text]]
    paths = [config.text] if config.test_text is None else [config.text, config.test_text]
    return [_read_text(Path(path)) for path in paths]


def _read_text(path: Path) -> str:
    try:
        content = read_bytes(path.expanduser(), TEXT_LIMIT)
        return io.TextIOWrapper(io.BytesIO(content), encoding="utf-8").read()
    except (OSError, ValueError) as error:
        names = ", ".join(TEXTS)
        raise DataError(
            f"{path}: cannot be read as text ({error}). Name a file in UTF-8, or one of {names}"
        ) from error


def _split(config: Config, text: str) -> list[str]:
    if config.unit == "character":
        return list(text)
    return [word for line in text.splitlines() for word in (*line.split(), END_OF_LINE)]
