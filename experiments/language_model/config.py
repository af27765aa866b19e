"""Settings, all our choice: no paper on the losses uses this text and this network."""

import dataclasses
from typing import Literal


@dataclasses.dataclass(frozen=True)
class Config:
    text: str = "wikitext-2"
    """"wikitext-2" (its validation text for training, its test text for testing),
    "tinyshakespeare", or the path of a text file."""
    test_text: str | None = None
    """Path of the test text where `text` is a path; None holds out the last tenth of `text`."""
    unit: Literal["word", "character"] = "word"
    """Unit of a token."""
    min_count: int = 2
    """Tokens that are rarer in the training text, or absent from it, are replaced by <unk>."""
    max_tokens: int | None = None
    """Maximum number of tokens of the training text and of the test text."""
    dim: int = 128
    """Dimension of the recurrent state and of a token's row, which serves as input and output
    weights."""
    dropout: float = 0.5
    """Fraction of inputs and states dropped in training."""
    batch_size: int = 32
    """Number of sequences read in parallel."""
    length: int = 35
    """Tokens per sequence and step, which bounds backpropagation through time."""
    num_epochs: int = 4
    """Passes over the training text."""
    learning_rate: float = 8e-3
    """Learning rate of Adam, decayed to zero on a cosine."""
    noise_power: float = 0.75
    """Power of the word frequencies in the noise distribution."""
    num_noise: tuple[int, ...] = (16, 128, 1024)
    """K, the number of words sampled per step, shared by its tokens."""
    magnifications: tuple[float, ...] = (1.0, 10.0, 100.0)
    """Grid of M."""
    middle: int = 128
    """The K of `num_noise` for what is not run at all of them."""
    num_seeds: int = 3
    """Number of seeds of the network, its dropout and the noise."""
    test_places: int = 32
    """Number of sequences of the test text read in parallel, each from an empty state."""
    num_contexts: int = 8_192
    """Number of contexts of the test text at which log Z is measured."""
    seed: int = 0
    """Seed of all random numbers."""


PRESETS = {
    "paper": Config(),
    "smoke": Config(
        text="tinyshakespeare",
        unit="character",
        max_tokens=6_000,
        dim=16,
        batch_size=8,
        num_epochs=1,
        num_noise=(8,),
        magnifications=(1.0, 10.0),
        middle=8,
        num_seeds=1,
        test_places=8,
        num_contexts=512,
    ),
}
