"""
Covariate shift between two tables
==================================

A model was fitted to one table and is to be judged on another, whose rows are distributed
differently. The ratio of the two densities weights the rows of the first as if they came from the
second.
"""

# sphinx_gallery_thumbnail_number = 2
import jax
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import nce_jax
from nce_jax import plots

# %%
# Two tables
# ----------
# Visitors of a shop: those of last year, for whom the outcome is known, and those of this year, who
# are older and stay longer.

rng = np.random.default_rng(0)


def visitors(num_rows, age, minutes):
    table = pd.DataFrame(
        {
            "age": rng.normal(age, 10.0, num_rows),
            "minutes": rng.gamma(4.0, minutes / 4, num_rows),
            "region": rng.normal(0.0, 1.0, num_rows),  # the same in both years
        }
    )
    spent = 0.05 * (table["age"] - 20) ** 1.5 + 0.8 * table["minutes"]
    return table, spent + rng.normal(0.0, 2.0, num_rows)


last_year, spent_last_year = visitors(4_000, age=38.0, minutes=12.0)
this_year, spent_this_year = visitors(4_000, age=45.0, minutes=15.0)

# %%
# The log ratio of this year over last year
# -----------------------------------------
# `fit_log_ratio` chooses among models from a constant to a network by cross-validation, and
# assesses the choice on rows that it has not seen. `nce_jax.sklearn.LogRatioEstimator` is the same
# for DataFrames as they are; columns of words are encoded first, as the page on coming from
# scikit-learn shows.

columns = ["age", "minutes", "region"]
estimate = nce_jax.fit_log_ratio(
    jax.random.key(0),
    this_year[columns].to_numpy(),
    last_year[columns].to_numpy(),
    num_steps=500,
    progress=False,
)
print(estimate.summary())
print(f"reliable: {estimate.is_reliable}, problems: {estimate.problems}")

figure, panels = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
plots.calibration_curve(estimate, ax=panels[0])
plots.roc_curve(estimate, ax=panels[1])

# %%
# Weights
# -------
# exp(log ratio) of last year's rows, normalized. The effective number of rows says how much of the
# table is left.

log_ratio = estimate.log_ratio(last_year[columns].to_numpy())
weights = np.asarray(jax.nn.softmax(log_ratio))
effective = nce_jax.diagnostics.effective_sample_size(log_ratio)
print(f"effective rows: {effective:.0f} of {len(weights)}")

for column in columns:
    before, after, target = (
        last_year[column].mean(),
        np.sum(weights * last_year[column]),
        this_year[column].mean(),
    )
    print(f"{column:8} last year {before:6.2f}, weighted {after:6.2f}, this year {target:6.2f}")

# %%
# What this year's visitors will spend
# ------------------------------------
# From last year's rows alone. In this made-up case the answer is known.

weighted = np.sum(weights * spent_last_year)
error = np.sqrt(np.sum(weights**2 * (spent_last_year - weighted) ** 2))
print(f"last year's mean {spent_last_year.mean():.2f}")
print(f"weighted         {weighted:.2f} +- {error:.2f} (of the sampling alone)")
print(f"this year's mean {spent_this_year.mean():.2f}")

figure, ax = plt.subplots(figsize=(7, 3.6), layout="constrained")
bins = np.linspace(0, 90, 45)
ax.hist(last_year["age"], bins, density=True, histtype="step", label="last year")
ax.hist(last_year["age"], bins, density=True, weights=weights, alpha=0.4, label="weighted")
ax.hist(this_year["age"], bins, density=True, histtype="step", label="this year")
ax.set_xlabel("age")
ax.set_ylabel("density")
ax.legend()
