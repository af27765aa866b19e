"""What a fit returns."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nce_jax._types import Array, Float, LogDensityFn, Params
from nce_jax.telescoping._bridges import telescoped
from nce_jax.telescoping._errors import StageDiagnostics
from nce_jax.telescoping._fit.evaluate import FullWorth, Worth
from nce_jax.telescoping._fit.misfit import is_misfit
from nce_jax.telescoping._fit.settings import Settings
from nce_jax.telescoping._fit.train import Trained


class Telescope(NamedTuple):
    """What `fit_telescope` returns; arrays of the K stages in the order from data to noise.

    Attributes:
      log_density_fn: `log_density_fn(params, x)`, the sum of the stages' log ratios s(x), (n, ...)
        -> (n,): an estimate of log p(x) - log q(x) + F.
      params: of it: `{"model": ..., "location": (K, ...), "scale": (K, ...)}`.
      log_partition: F = sum_k F_k, in nats.
      standard_error: of F, joint over stages, for the parameters as they are; inf where a stage has
        no overlap.
      mean_log_ratio: E_data[s] - F, an estimate of KL(p || q), in nats.
      mean_standard_error: its error for the parameters as they are; inf where a stage has no
        overlap, or `is_converged` is false.
      mean_full_standard_error: its error with that of the parameters; inf and NaN as for
        `covariance`.
      covariance: of the parameters (stage after stage) and all F_k behind them; inf where a stage
        has no optimum (sets that the model can tell apart have none) or a misfit; None where
        gradient descent found the parameters.
      is_converged: whether training found its end (Newton's method: an optimum in every stage;
        gradient descent: the mean log ratio no longer drifts), no stage's overlap ended below half
        of `min_overlap`, a gap that the pilots missed, and no stage's model shows a misfit.
      misfit: of every stage, (K,), in standard errors: how clearly its model does not contain the
        log ratio; of true models some two fits in 1,000 are flagged (beyond about 4).
        docs/design.md says what is tested.
      schedule: a_0 = 0 < ... < a_K = 1.
      stages: a `StageDiagnostics`: overlap, effective samples, share of the variance, status of
        every stage.
      num_steps: training steps taken in all, those of pilots and of the evaluation among them.
      num_pilot_steps: of these, what the search for the schedule took.
      path: (steps, model, F_k) along the training: steps (c,), leaves with a leading axis c; F_k
        None for gradient descent.
    """

    log_density_fn: LogDensityFn
    params: Params
    log_partition: float
    standard_error: float
    mean_log_ratio: float
    mean_standard_error: float
    mean_full_standard_error: float
    covariance: np.ndarray | None
    is_converged: bool
    misfit: np.ndarray
    schedule: np.ndarray
    stages: StageDiagnostics
    num_steps: int
    num_pilot_steps: int
    path: tuple[np.ndarray, Any, Any]

    def log_ratio(
        self, x: Float[Array, "n *shape"]
    ) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
        """log p(x) - log q(x) at points (n, ...), and its standard error with that of the
        parameters (NaN without).
        """
        shape = jnp.shape(self.params["location"])[1:]
        if jnp.shape(x)[1:] != shape or not jnp.shape(x):
            raise ValueError(
                f"x: expected points of shape (n, {', '.join(map(str, shape))}), got shape"
                f" {jnp.shape(x)}"
            )
        values = self.log_density_fn(self.params, jnp.asarray(x)) - self.log_partition
        if self.covariance is None or not np.isfinite(self.covariance).all():
            return values, jnp.full_like(values, jnp.nan if self.covariance is None else jnp.inf)
        fixed = {name: self.params[name] for name in ("location", "scale")}

        def value(model: Params, x: Any) -> jax.Array:
            return self.log_density_fn({"model": model, **fixed}, x[None])[0]

        slopes = jax.vmap(jax.grad(value), in_axes=(None, 0))(self.params["model"], x)
        num_stages = len(self.schedule) - 1
        flat = [leaf.reshape(len(values), num_stages, -1) for leaf in jax.tree.leaves(slopes)]
        of_theta = np.concatenate(flat, axis=-1).reshape(len(values), -1)
        gradient = np.concatenate([of_theta, -np.ones((len(values), num_stages))], axis=-1)
        return values, jnp.asarray(
            np.sqrt(np.einsum("np,pq,nq->n", gradient, self.covariance, gradient)), values.dtype
        )

    def summary(self) -> str:
        """The stages as a table, and the totals."""
        stages = self.stages
        columns = (
            stages.overlap,
            stages.effective_sample_size,
            stages.share,
            stages.log_partition,
            self.misfit,
        )
        rows = [
            f"{'from':>9} {'to':>9} {'overlap':>8} {'samples':>8} {'share':>6} {'F':>9}"
            f" {'misfit':>6}"
        ]
        for start, end, *values in zip(
            self.schedule[:-1], self.schedule[1:], *map(np.asarray, columns), strict=True
        ):
            rows.append(
                "{:9.3g} {:9.3g} {:8.2f} {:8.0f} {:6.2f} {:9.3f} {:6.1f}".format(
                    start, end, *values
                )
            )
        rows.append(
            f"F {self.log_partition:.3f} +- {self.standard_error:.3f} for the parameters as"
            " they are"
        )
        errors = (
            f"+- {self.mean_standard_error:.3f} ({self.mean_full_standard_error:.3f} with the"
            " parameters' error)"
        )
        rows.append(f"mean log ratio {self.mean_log_ratio:.3f} {errors}; {self.num_steps} steps")
        flagged = np.flatnonzero(is_misfit(self.misfit))
        if len(flagged):
            rows.append(
                f"MISFIT in stages {flagged.tolist()}: the model does not contain the log ratio"
                " there"
            )
        if not self.is_converged:
            why = (
                "the model does not fit"
                if len(flagged)
                else "training found no end, or a stage has a gap"
            )
            rows.append(f"NOT CONVERGED: {why}; the mean log ratio is no estimate")
        return "\n".join(rows)


def make_telescope(
    settings: Settings,
    trained: Trained,
    worth: Worth,
    full: FullWorth | None,
    misfit: jax.Array,
    is_settled: bool,
    schedule: np.ndarray,
    num_steps: int,
    num_pilot_steps: int,
) -> Telescope:
    """Gathers a fit, without the stages that were added for a round number."""
    num_stages, (steps, models, roots) = len(schedule) - 1, trained.path
    has_found = trained.is_converged is None or bool(trained.is_converged[:num_stages].all())
    scores = np.asarray(misfit[:num_stages])
    is_found = has_found and not is_misfit(scores).any()
    is_converged = is_settled and is_found
    covariance, mean_error = _full_errors(trained, full, num_stages, is_found)
    models = _first({"model": models}, settings, num_stages, axis=1)["model"]
    return Telescope(
        log_density_fn=telescoped(settings.spec.stages_fn, num_stages),
        params=_first(trained.params, settings, num_stages),
        log_partition=float(
            np.sum(np.asarray(worth.stages.log_partition[:num_stages], np.float64))
        ),
        standard_error=float(worth.standard_error),
        mean_log_ratio=float(worth.mean.value),
        mean_standard_error=float(worth.mean.standard_error) if is_converged else np.inf,
        mean_full_standard_error=mean_error,
        covariance=covariance,
        is_converged=is_converged,
        misfit=scores,
        schedule=schedule,
        stages=jax.tree.map(lambda leaf: leaf[:num_stages], worth.stages),
        num_steps=num_steps,
        num_pilot_steps=num_pilot_steps,
        path=(steps + num_pilot_steps, models, None if roots is None else roots[:, :num_stages]),
    )


def _full_errors(
    trained: Trained, full: FullWorth | None, num_stages: int, is_found: bool
) -> tuple[np.ndarray | None, float]:
    """Covariance of (theta, F) and the mean log ratio's error: infinite if any stage has no
    optimum, or a misfit.
    """
    if full is None or trained.theta is None:
        return None, np.nan
    num_padded, num_params = trained.theta.shape
    kept = np.concatenate(
        [np.arange(num_stages * num_params), num_padded * num_params + np.arange(num_stages)]
    )
    covariance = np.asarray(full.covariance, np.float64)[np.ix_(kept, kept)]
    if is_found:
        return covariance, float(full.mean_standard_error)
    return np.full_like(covariance, np.inf), np.inf


def _first(params: Params, settings: Settings, num_stages: int, axis: int = 0) -> Params:
    def cut(tree: Any) -> Any:
        return jax.tree.map(lambda leaf: jax.lax.slice_in_dim(leaf, 0, num_stages, axis=axis), tree)

    if settings.spec.body_fn is None:
        return cut(params)
    model = {**params["model"], "heads": cut(params["model"]["heads"])}
    return {**cut({name: leaf for name, leaf in params.items() if name != "model"}), "model": model}
