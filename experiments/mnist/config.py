"""Settings of the MNIST experiment.

The paper states dequantized MNIST, noise with the data's mean and covariance, and the log ratio
f'Wf + b'f + c with ResNet-18 features. It leaves everything else open, and every field for that is
our choice.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """One run of the experiment."""

    images: str = "mnist"
    """"mnist", "fashion-mnist", or "digits": scikit-learn's 8 x 8 set, enlarged, no download."""
    width: int = 8
    """Number of channels of the first stage; the paper's ResNet-18 has 64."""
    half_precision: bool = False
    """Whether activations are bfloat16; parameters stay float32."""
    batch_size: int = 64
    """Number of images, and of noise samples, per step."""
    num_steps: int = 500
    """Number of training steps."""
    learning_rate: float = 3e-4
    """Learning rate of Adam; at 1e-3 the losses with F solved vary by ten orders of magnitude."""
    raised_rate: float = 1e-1
    """Learning rate of Adam on F alone, in "NCE, raised rate"."""
    magnifications: tuple[float, ...] = (10.0, 100.0)
    """M in addition to M = 1, with F solved."""
    methods: tuple[str, ...] | None = None
    """Names in `train.methods`; None takes all."""
    num_seeds: int = 2
    """Number of seeds per method."""
    log_every: int = 10
    """Number of steps averaged into one record."""
    num_held_out: int = 1000
    """Number of test images, and of noise samples, of the held-out loss."""
    evaluate_every: int = 50
    """Number of steps between evaluations of the held-out loss."""
    num_chains: int = 32
    """Number of chains of the samples and of log Z."""
    num_temperatures: int = 150
    """Number of temperatures of annealed importance sampling."""
    num_leapfrog: int = 3
    """Number of leapfrog steps per transition of Hamiltonian Monte Carlo."""
    num_tuning: int = 40
    """Number of transitions that tune the step size."""
    num_mcmc: int = 100
    """Number of transitions after the annealing, for figure 13."""
    num_likelihood: int = 1000
    """Number of test images of the likelihood."""
    seed: int = 0
    """Seed of all random numbers."""


PRESETS = {
    "smoke": Config(
        images="digits",
        width=2,
        batch_size=16,
        num_steps=20,
        methods=("NCE", "BAR"),
        num_seeds=1,
        num_held_out=50,
        evaluate_every=10,
        num_chains=4,
        num_temperatures=4,
        num_leapfrog=1,
        num_tuning=2,
        num_mcmc=2,
        num_likelihood=20,
    ),
    "cpu": Config(),
    "gpu": Config(
        width=64,
        half_precision=True,
        batch_size=128,
        num_steps=10_000,
        num_seeds=3,
        num_held_out=10_000,
        evaluate_every=500,
        num_chains=256,
        num_temperatures=2000,
        num_leapfrog=5,
        num_tuning=200,
        num_mcmc=2000,
        num_likelihood=10_000,
    ),
}
