r"""Critics: a log ratio that a generator, a sampler or a student is trained against.

Two players take turns. The critic learns the log ratio of data to samples by any criterion,
magnification and treatment of F of this library; the other player moves its samples to where the
critic takes them for data.
"""

from nce_jax.critics._gradient_penalty import gradient_penalty
from nce_jax.critics._two_player_step import TwoPlayerState, TwoPlayerStep, make_two_player_step

__all__ = ["TwoPlayerState", "TwoPlayerStep", "gradient_penalty", "make_two_player_step"]
