"""Settings of the MNIST experiment.

Stated in the paper: dequantized MNIST, noise with the data's mean and covariance, the log ratio
f'Wf + b'f + c with ResNet-18 features. Everything else it leaves open, and every such field is our
choice.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """One run of the experiment."""

    images: str = (
        "mnist"  # or fashion-mnist; "digits" is scikit-learn's 8 x 8 set, enlarged: no download
    )
    width: int = 8  # channels of the first stage; the paper's ResNet-18 has 64
    half_precision: bool = False  # bfloat16 activations; parameters stay float32
    batch_size: int = 64  # images, and as many noise samples, in a step
    num_steps: int = 500
    learning_rate: float = (
        3e-4  # of Adam; at 1e-3 the losses with F solved scatter over ten orders of magnitude
    )
    raised_rate: float = 1e-1  # of Adam on F alone, in "NCE, raised rate"
    magnifications: tuple[float, ...] = (10.0, 100.0)  # beside M = 1, with F solved
    methods: tuple[str, ...] | None = None  # names in `train.methods`; None takes all
    num_seeds: int = 2
    log_every: int = 10
    num_held_out: int = (
        1000  # test images, and as many noise samples, that the held-out loss is taken on
    )
    evaluate_every: int = 50
    # Samples and likelihood.
    num_chains: int = 32
    num_temperatures: int = 150  # of annealed importance sampling
    num_leapfrog: int = 3  # steps of a trajectory of Hamiltonian Monte Carlo
    num_tuning: int = 40  # transitions that tune the step size
    num_mcmc: int = 100  # transitions behind figure 13, after the annealing
    num_likelihood: int = 1000  # test images whose likelihood is taken
    seed: int = 0


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
