"""Settings, all our choice: no paper compares these noises."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Config:
    noises: tuple[str, ...] = (
        "standard normal",
        "Gaussian",
        "box",
        "marginals",
        "flow",
        "half flow",
        "self",
    )
    """Names in `noises.BUILDERS`, "flow", "half flow" and "self"."""
    magnifications: tuple[float, ...] = (1.0, 100.0)
    """Values of kappa: first that of the tables, then 100, where other experiments found an
    effect."""
    num_seeds: int = 3
    """Number of seeds of weights, batches and draws; data, split and fitted noises are shared."""
    hidden: tuple[int, ...] = (128, 64)
    """Widths of the network: those of the literature's 2-D experiments."""
    learning_rate: float = 1e-3
    """Learning rate of Adam: its default."""
    num_checkpoints: int = 16
    """Number of steps at which a model is measured, evenly spaced on a log scale."""

    toy: str = "8-gaussians"
    """Name in `nce_jax.toys.TOYS`: separate modes, and an exact density."""
    num_points: int = 10_000
    """Number of training points of the toy, drawn once: noises are fitted to them as well."""
    plane_steps: int = 3000
    """Number of training steps, enough for the better noises to converge."""
    plane_batch: int = 256
    """Number of data samples, and of noise samples, per step."""
    half_width: float = 8.0
    """Half width of the quadrature's square: four standard deviations of the fitted Gaussian."""
    num_cells: int = 128
    """Number of cells per side of the square, each a third of a mode's standard deviation wide."""

    num_held_out: int = 300
    """Number of test images, of 1,797."""
    logit_margin: float = 1e-6
    """alpha of logit(alpha + (1 - 2 alpha) x)."""
    num_dequantizations: int = 10
    """Number of dequantizations of every training image, drawn once. The flow's held-out samples
    are other draws of the same images, and thus not independent."""
    digits_steps: int = 1000
    """Number of training steps, as in the experiment `digits`."""
    digits_batch: int = 128
    """Number of images, and of noise samples, per step, as in the experiment `digits`."""

    flow_steps: int = 600
    """Number of training steps of the flow. On digits its likelihood still grows slowly then; in
    the plane it has converged."""
    plane_flow_layers: int = 4
    """Number of couplings: the library's default."""
    plane_flow_hidden: tuple[int, ...] = (64, 64)
    """Widths of its conditioners: the library's default."""
    digits_flow_layers: int = 2
    """Number of couplings: the fewest that transform every pixel. Four with twice the width cost
    four times as much."""
    digits_flow_hidden: tuple[int, ...] = (32,)
    """Widths of its conditioners, chosen for the same reason."""
    flow_bins: int = 4
    """Number of bins of its splines: half the library's default, and half the time."""

    buffer_size: int = 500
    """Number of samples of the self-noise: two to four batches."""
    refresh_every: int = 20
    """Number of steps between snapshots."""
    refresh_moves: int = 5
    """Number of transitions of every chain at a refresh."""
    leapfrog: int = 3
    """Number of leapfrog steps per transition of Hamiltonian Monte Carlo, in training and
    evaluation."""
    plane_step_size: float = 0.15
    """Step size in units of the fitted Gaussian, chosen by the acceptance rate."""
    digits_step_size: float = 0.25
    """Step size in units of the fitted Gaussian, chosen by the acceptance rate."""

    annealing_stages: int = 300
    """Number of temperatures from the fitted Gaussian to the model, for log Z of the digits'
    models."""
    annealing_chains: int = 500
    """Number of its chains."""
    min_effective_samples: float = 100.0
    """Effective sample size below which log Z and the likelihood are withheld."""
    seed: int = 0
    """Seed of all random numbers."""


PRESETS = {
    "paper": Config(),
    # Nearly all of its time is compilation. The other noises would add to it and test nothing new.
    "smoke": Config(
        noises=("Gaussian", "flow", "half flow", "self"),
        magnifications=(1.0,),
        num_seeds=2,
        hidden=(16,),
        num_checkpoints=3,
        num_points=500,
        plane_steps=20,
        plane_batch=64,
        num_cells=32,
        num_held_out=100,
        num_dequantizations=1,
        digits_steps=20,
        digits_batch=32,
        flow_steps=10,
        plane_flow_layers=2,
        plane_flow_hidden=(8,),
        digits_flow_hidden=(8,),
        buffer_size=50,
        refresh_moves=2,
        leapfrog=1,
        annealing_stages=4,
        annealing_chains=50,
        min_effective_samples=10.0,
    ),
}
