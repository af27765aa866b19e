"""Estimators of free energies with the interface of alchemlyb: a workflow changes one import.

`MBAR` and `BAR` take the `u_nk` tables of `alchemlyb.parsing` and `alchemlyb.preprocessing`, and
hold their results in the attributes of `alchemlyb.estimators`. They compute in float64, whatever
the precision of the process, and leave its settings alone. This room needs the extra `alchemlyb`.
"""

from nce_jax._extras import missing_extra

try:
    import pandas as _pandas  # noqa: F401
    import sklearn as _sklearn  # noqa: F401
except ImportError as error:
    raise missing_extra("nce_jax.alchemlyb needs pandas and scikit-learn", "alchemlyb") from error

from nce_jax.alchemlyb._bar import BAR
from nce_jax.alchemlyb._mbar import MBAR

__all__ = ["BAR", "MBAR"]
