"""Settings of the offline design experiment. All but the protocol of TFBind8 are our choice."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """One run of the experiment."""

    task: str = "tfbind8"
    """The first task: "tfbind8", the published table; "table", a whole landscape of our own; or the
    folder below design-bench/ of another table of all sequences of one length."""
    table_length: int = 6
    """Length of the sequences of the landscape of our own."""
    landscape_length: int = 24
    """Length of the second task's sequences, which cannot be enumerated."""
    num_measured: int = 20_000
    """Number of measured sequences of the second task, of which the lower half is given."""

    num_candidates: int = 128
    """Number of designs that a method may propose, as in Design-Bench."""
    num_seeds: int = 8
    """Number of seeds of weights and batches; all seeds share the data."""
    num_members: int = 3
    """Number of networks that the averaged methods average."""

    hidden: tuple[int, ...] = (96, 96)
    """Widths of all networks."""
    batch_size: int = 256
    """Number of samples, and of noise samples, per step."""
    num_steps: int = 1000
    """Number of training steps."""
    learning_rate: float = 2e-3
    """First learning rate of AdamW, which falls to zero along a cosine."""

    magnifications: tuple[float, ...] = (1.0, 100.0)
    """Values of M."""
    weight_decays: tuple[float, ...] = (1e-4, 0.1, 1.0)
    """Weight decays to choose from, for regression."""
    fractions: tuple[float, ...] = (0.03, 0.1, 0.2, 0.4)
    """Top fractions of the given designs to choose from, for the log ratio."""
    ratio_weight_decays: tuple[float, ...] = (1e-4, 0.1)
    """Weight decays to choose from, for the log ratio."""
    stage_quantiles: tuple[float, ...] = (0.0, 0.6, 0.85, 0.97)
    """Quantiles of y between which the stages lie."""
    num_selection_seeds: int = 2
    """Number of seeds over which a choice is averaged."""

    latent_dim: int = 16
    """Number of latent variables of the generator of (x, y)."""
    score_scale: float = 0.2
    """Standard deviation of y given z, in standard deviations of the given y."""
    latent_levels: tuple[float, ...] = (0.0, 0.3, 0.6, 1.0)
    """Noise levels of the prior of three stages."""
    targets: tuple[float, ...] = (0.0, 1.0, 2.0, 4.0)
    """y* to choose from: standard deviations of the given y above the largest of them."""
    chain_step: float = 0.02
    """Step size of the chains in the latent space."""
    num_chain_steps: int = 200
    """Number of transitions of those chains."""

    num_chains: int = 256
    """Number of chains, over sequences and over latent variables."""
    num_sweeps: int = 10
    """Number of times that a chain over sequences updates every site."""
    num_ascent_steps: int = 200
    """Number of Adam steps on soft one-hot vectors."""

    seed: int = 0
    """Seed of all random numbers."""


PRESETS = {
    "paper": Config(),
    "smoke": Config(
        task="table",
        landscape_length=10,
        num_measured=1_000,
        num_candidates=16,
        num_seeds=2,
        num_members=2,
        hidden=(16, 16),
        batch_size=32,
        num_steps=60,
        weight_decays=(1e-4, 0.1),
        fractions=(0.1, 0.3),
        ratio_weight_decays=(1e-4,),
        num_selection_seeds=1,
        latent_dim=4,
        targets=(0.0, 1.0),
        num_chain_steps=10,
        num_chains=32,
        num_sweeps=2,
        num_ascent_steps=10,
    ),
}
