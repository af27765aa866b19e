"""Settings; all are our choice, since no paper trains on more than one device."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Config:
    pairs: tuple[str, ...] = ()
    """Criterion and treatment, as in "nce, solved"; () takes all that go together."""
    dtypes: tuple[str, ...] = ("float32", "float64")
    """In which the agreement is looked at."""
    layouts: tuple[str, ...] = ("1x8", "2x4")
    """Processes x devices of each, to be compared with one device."""
    num_data: int = 32
    """Data samples per step."""
    num_noise: int = 48
    """Noise samples per step."""
    hidden: tuple[int, ...] = (16, 8)
    """Of the perceptron in two dimensions."""
    learning_rate: float = 0.01
    """Of SGD over `num_steps`; the gradient is read off one step at a rate of 1."""
    num_steps: int = 100
    """After which the parameters are compared, ..."""
    long_pairs: tuple[str, ...] = (
        "nce, solved",
        "nce, bar",
        "noisier, joint",
        "noisier, bisection",
        "exponential, solved",
        "nwj, own rate",
        "donsker_varadhan, joint",
        "least_squares, fixed",
        "regularized, solved",
        "nce, solved, adaptive M",
    )
    """... of these: every criterion and every treatment once, since eight devices of two processes
    take long to exchange."""
    num_devices: tuple[int, ...] = (1, 2, 4, 8)
    """Over which a larger step is compiled, to count its work per device."""
    batch_size: int = 8_192
    """Samples of each side of that step: in all (strong scaling), or per eight devices (weak
    scaling)."""
    width: int = 512
    """Of its two hidden layers; 64 dimensions."""
    exchange_sizes: tuple[int, ...] = (1_024, 16_384, 262_144, 2_097_152)
    """Samples of both sides in a solve alone, gathered first or reduced at every evaluation."""
    num_repeats: int = 9
    """Steps of it that are timed, and sweeps."""
    sweep_lanes: tuple[int, int] = (16, 64)
    """M x seeds of a sweep that is the same over all these devices."""
    sweep_steps: int = 100
    """Training steps of each of its lanes, ..."""
    sweep_batch_size: int = 256
    """... on so many samples of data, and of noise."""
    seed: int = 0
    """Of everything random."""


PRESETS = {
    "paper": Config(),
    "smoke": Config(
        pairs=("nce, solved", "noisier, joint"),
        dtypes=("float32",),
        layouts=("1x8",),
        num_steps=10,
        long_pairs=("nce, solved",),
        num_devices=(1, 8),
        batch_size=64,
        width=16,
        exchange_sizes=(64, 256),
        num_repeats=2,
        sweep_lanes=(4, 16),
        sweep_steps=20,
        sweep_batch_size=64,
    ),
}
