"""Settings, all our choice except the published benzene data: the paper has no such experiment."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """Energies u(x) = k / 2 (x - mu)^2 in kT; the initial state has k = 1 and mu = 0."""

    separations: tuple[float, ...] = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 12.0)
    """mu of the final state, in standard deviations of the initial one."""
    spring_constants: tuple[float, ...] = (1.0, 4.0, 16.0)
    """k of the final state."""
    num_work: int = 1000
    """Number of work values in each direction."""
    num_seeds: int = 400
    """Number of independent repetitions of every pair of states."""
    num_forward: int = 10_000
    """Unequal sample sizes: number of forward work values."""
    num_reverse: int = 100
    """Unequal sample sizes: number of reverse work values."""
    unequal_separation: float = 3.0
    """Unequal sample sizes: mu of the final state, whose k is 1."""
    num_unequal_seeds: int = 2000
    """Unequal sample sizes: number of independent repetitions."""
    good_overlap: float = 0.05
    """Smallest overlap at which error bars are judged; 1 for equal states, 0.02 five standard
    deviations apart."""
    block_sizes: tuple[int, ...] = (1, 2, 5, 10, 20, 50, 100)
    """Benzene: numbers of consecutive work values per block."""
    num_replicates: int = 2000
    """Benzene: number of bootstrap replicates of the states."""
    seed: int = 0
    """Seed of all random numbers."""


PRESETS = {
    "smoke": Config(
        separations=(1.0, 3.0, 12.0),
        spring_constants=(1.0, 4.0),
        num_work=200,
        num_seeds=50,
        num_forward=1000,
        num_unequal_seeds=50,
        num_replicates=100,
    ),
    "paper": Config(),
}
