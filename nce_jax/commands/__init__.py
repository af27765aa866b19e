"""Command lines that come with the library: `nce-sweep` shows and draws stored sweeps.

The commands need tyro, of the extra `sweeps`; to draw needs the extra `plots`, too.
"""

from nce_jax.commands._sweep import nce_sweep

__all__ = ["nce_sweep"]
