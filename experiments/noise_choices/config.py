"""Settings of the comparison of noises. No paper states any of them: every field is our choice."""

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
    """Names in `noises.BUILDERS`, and "self"."""
    magnifications: tuple[float, ...] = (1.0, 100.0)
    """kappa, in the first place that of the tables; 100 is where other experiments saw it
    matter."""
    num_seeds: int = 3
    """Of initial weights, batches and draws; data, split and fitted noises are the same for all."""
    hidden: tuple[int, ...] = (128, 64)
    """Widths of the network: those of the literature's 2-D experiments."""
    learning_rate: float = 1e-3
    """Adam's default."""
    num_checkpoints: int = 16
    """Steps at which a model is measured, evenly spaced on a log scale."""

    toy: str = "8-gaussians"
    """In `experiments.common.toys.TOYS`: separate modes, and an exact density."""
    num_points: int = 10_000
    """Training points of the toy, drawn once: noises are fitted to them as well."""
    plane_steps: int = 3000
    """About where the better noises are done."""
    plane_batch: int = 256
    """Data, and as many noise samples, per step."""
    half_width: float = 8.0
    """Of the square of the quadrature: four standard deviations of the fitted Gaussian."""
    num_cells: int = 128
    """Per side of it: a third of a standard deviation of a mode across."""

    num_held_out: int = 300
    """Test images, of 1,797."""
    logit_margin: float = 1e-6
    """alpha of logit(alpha + (1 - 2 alpha) x)."""
    num_dequantizations: int = 10
    """Of every training image, drawn once. What the flow holds out are other draws of the same
    images, hence not strict."""
    digits_steps: int = 1000
    """As in the experiment `digits`."""
    digits_batch: int = 128
    """As in the experiment `digits`."""

    flow_steps: int = 600
    """Its likelihood on digits still grows then, slowly; the plane's is done."""
    plane_flow_layers: int = 4
    """Couplings; the library's default."""
    plane_flow_hidden: tuple[int, ...] = (64, 64)
    """Of its conditioners; the library's default."""
    digits_flow_layers: int = 2
    """The fewest that move every pixel: four with twice the width cost four times as much."""
    digits_flow_hidden: tuple[int, ...] = (32,)
    """Likewise."""
    flow_bins: int = 4
    """Of its splines: half the library's default, and half the time."""

    buffer_size: int = 500
    """Of the self-noise: two to four batches."""
    refresh_every: int = 20
    """Steps between snapshots."""
    refresh_moves: int = 5
    """Transitions of every chain at a refresh."""
    leapfrog: int = 3
    """Steps per transition of Hamiltonian Monte Carlo, here and in the evaluation."""
    plane_step_size: float = 0.15
    """In units of the fitted Gaussian; by the acceptance rate."""
    digits_step_size: float = 0.25
    """Likewise."""

    annealing_stages: int = 300
    """Temperatures from the fitted Gaussian to the model, for log Z of the digits' models."""
    annealing_chains: int = 500
    """Chains of it."""
    min_effective_samples: float = 100.0
    """Below it log Z and the likelihood are withheld."""
    seed: int = 0
    """Of everything random."""


PRESETS = {
    "paper": Config(),
    # Nearly all of its time is compilation, of which the other noises have as much and show nothing
    # more.
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
