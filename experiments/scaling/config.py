"""Settings, all our choice: the papers train on a single device."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Config:
    pairs: tuple[str, ...] = ()
    """Criteria and treatments to run, as in "nce, solved"; () runs all that are supported."""
    dtypes: tuple[str, ...] = ("float32", "float64")
    """Dtypes in which the agreement is tested."""
    layouts: tuple[str, ...] = ("1x8", "2x4")
    """Layouts that are compared with one device, as processes x devices per process."""
    num_data: int = 32
    """Number of data samples per step."""
    num_noise: int = 48
    """Number of noise samples per step."""
    hidden: tuple[int, ...] = (16, 8)
    """Widths of the perceptron in two dimensions."""
    learning_rate: float = 0.01
    """Learning rate of SGD over `num_steps`; the gradient is taken from one step at a rate of 1."""
    num_steps: int = 100
    """Number of steps after which the parameters are compared, for `long_pairs`."""
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
    """Pairs trained for `num_steps`: every criterion and every treatment once, since the exchange
    between eight devices of two processes is slow."""
    num_devices: tuple[int, ...] = (1, 2, 4, 8)
    """Numbers of devices for which a larger step is compiled, to count its work per device."""
    batch_size: int = 8_192
    """Samples of each side of that step: in total (strong scaling), or per eight devices (weak
    scaling)."""
    width: int = 512
    """Width of its two hidden layers, in 64 dimensions."""
    exchange_sizes: tuple[int, ...] = (1_024, 16_384, 262_144, 2_097_152)
    """Samples of both sides in a solve for F, gathered first or reduced at every evaluation."""
    num_repeats: int = 9
    """Number of timed steps, and of timed sweeps."""
    sweep_lanes: tuple[int, int] = (16, 64)
    """Numbers of M and of seeds in a sweep that is the same for any number of devices."""
    sweep_steps: int = 100
    """Number of training steps of each of its lanes."""
    sweep_batch_size: int = 256
    """Number of data samples, and of noise samples, in each of these steps."""
    seed: int = 0
    """Seed of all random numbers."""


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
