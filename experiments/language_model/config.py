"""Settings, all our choice: no paper of the losses has this text and this network."""

import dataclasses
from typing import Literal


@dataclasses.dataclass(frozen=True)
class Config:
    text: str = "wikitext-2"
    """"wikitext-2" (its validation text for training, its test text for testing),
    "tinyshakespeare", or a file of text."""
    test_text: str | None = None
    """A file to test on, where `text` is a file; None takes the last tenth of `text` away for
    that."""
    unit: Literal["word", "character"] = "word"
    """What a token is."""
    min_count: int = 2
    """Rarer tokens of the training text, and all that are not in it, are one: <unk>."""
    max_tokens: int | None = None
    """Tokens of the training text and of the test text, at most."""
    dim: int = 128
    """Of a token's row, which is the network's input and its output layer's (tied), and of the
    recurrent state."""
    dropout: float = 0.5
    """Share of the inputs and of the states left out in training."""
    batch_size: int = 32
    """Places of the text read at once."""
    length: int = 35
    """Tokens per place and step: as far as gradients go back."""
    num_epochs: int = 4
    """Passes over the training text."""
    learning_rate: float = 8e-3
    """Of Adam; it falls to zero on a cosine."""
    noise_power: float = 0.75
    """Noise: how often words occur, to this power."""
    num_noise: tuple[int, ...] = (16, 128, 1024)
    """K, words sampled per step and shared by its tokens."""
    magnifications: tuple[float, ...] = (1.0, 10.0, 100.0)
    """M."""
    middle: int = 128
    """One of `num_noise`, for what is not done at all of them."""
    num_seeds: int = 3
    """Networks, their dropout and noise."""
    test_places: int = 32
    """Places of the test text read at once; every one starts with an empty state."""
    num_contexts: int = 8_192
    """Contexts of the test text whose log Z is looked at."""
    seed: int = 0
    """Of everything random."""


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
