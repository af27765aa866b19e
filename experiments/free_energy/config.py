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
    num_states: tuple[int, ...] = (5, 16)
    """Many states: their numbers."""
    spacings: tuple[float, float] = (1.0, 4.7)
    """Many oscillators: distance of neighbors in units of the mean of their standard deviations, at
    good and at poor overlap."""
    last_stiffness: float = 4.0
    """Many oscillators: k of the last state; k grows from 1 by the same factor at every step."""
    decay_ratios: tuple[float, float] = (2.0, 200.0)
    """Many exponentials: ratio of the rates of neighbors, at good and at poor overlap."""
    num_samples: int = 200
    """Many states: number of samples of each state."""
    num_repetitions: int = 2000
    """Many states: number of independent repetitions."""
    num_bootstrapped: int = 200
    """Many states: number of repetitions that are bootstrapped, with the fewest states."""
    num_state_replicates: int = 300
    """Many states: number of bootstrap replicates of each of them."""
    num_mbar_replicates: int = 1000
    """Benzene by MBAR: number of bootstrap replicates for each size of blocks."""
    state_block_sizes: tuple[int, ...] = (1, 10)
    """Benzene by MBAR: numbers of consecutive configurations that are redrawn together."""
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
        block_sizes=(1, 10),
        num_replicates=20,
        num_states=(3,),
        spacings=(1.0, 3.0),
        decay_ratios=(2.0, 20.0),
        num_samples=50,
        num_repetitions=20,
        num_bootstrapped=4,
        num_state_replicates=20,
        num_mbar_replicates=10,
        state_block_sizes=(10,),
    ),
    "paper": Config(),
}
