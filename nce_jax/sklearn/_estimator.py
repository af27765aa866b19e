"""The log ratio of two sets as an estimator of scikit-learn's kind."""

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from nce_jax._options import check_flag
from nce_jax.ratio_estimation import LogRatioEstimate, UnreliableRatioWarning, fit_log_ratio
from nce_jax.sklearn._sets import Sets, by_labels, by_reference, check_columns, check_num_rows

_MIN_OVERLAP = 0.1
"""The overlap that `fit_log_ratio` asks for."""

_MIN_SHARE = 0.1
"""Effective rows per row below which weights are carried by few of them. The value is our
choice."""

_MIN_ROWS, _MAX_ERRORS, _MAX_DISTANCE = 30, 4, 1 / 3
"""The mean weight of as many rows or more is compared with one: it is far from one where it differs
by more than as many standard errors, and by more than this number. The values are our choice."""


class LogRatioEstimator(ClassifierMixin, BaseEstimator):
    """The log ratio of the densities of two sets of rows, and the weights that it implies.

    It wraps `nce_jax.fit_log_ratio`, which chooses a model by cross-validation and assesses it on
    rows that took no part in that. There are two ways to give the two sets:

    - `fit(X, X_reference=X_reference)`, two tables with the same columns;
    - `fit(X, y)`, one table with two labels, the second of which (in sorted order: 1 of 0 and 1)
      marks the data. It is what `cross_val_score`, `GridSearchCV` and pipelines need, which split
      or transform X row by row: a reference that is handed on beside it would not be.

    As a classifier it predicts whether a row belongs to the data. `score` is neither an accuracy
    nor dependent on the proportion of the sets: it is the gain of the log loss over a guess, in
    nats. Computations have the precision of the process, float32 unless x64 is on; columns whose
    differences float32 cannot represent are refused, and a `StandardScaler` before the estimator
    takes the cause away. DataFrames keep their column names, and columns in another order are
    refused, as everywhere in scikit-learn.

    Where both sets are about Gaussian, a logistic regression on the columns and their squares is
    about as good, and much faster::

        make_pipeline(StandardScaler(), PolynomialFeatures(2), LogisticRegression())

    Its log ratio is `decision_function(X) - log(n_data / n_reference)`. Take it for a first look,
    in inner loops and for thousands of small problems. It cannot follow clusters, and lacks a
    capacity that follows the number of rows, errors, overlap and
    calibration, rows in groups, and a warning where the ratio is not to be relied on.

    Args:
      model: `(params, log_ratio_fn)`; None chooses one by the rows, as `fit_log_ratio` does.
      criterion: of the training of a network or `model`; None is `criteria.nce()`.
      optimizer: an optax transformation for that training; None is Adam with a falling rate.
      num_steps: number of its steps; None follows the number of rows.
      batch_size: rows of each set in a step.
      held_out: fraction of each set in a fold, between 0 and 1.
      block_size: number of consecutive rows of a set that depend on one another, for time series.
      progress: whether to show a progress bar.
      random_state: an integer, a NumPy `RandomState`, or None for NumPy's global one: draws the
        folds and the training.

    Attributes:
      estimate_: the `ratio_estimation.LogRatioEstimate`: KL with its error, overlap, held-out loss,
        calibration and ROC curve, `summary()`, `problems`.
      classes_: labels of the reference and of the data, (2,); 0 and 1 where X_reference was given.
      class_prior_: proportions of the reference and of the data, (2,), by their weights if given.
      n_features_in_: number of columns.
      feature_names_in_: names of the columns, of DataFrames.

    Examples:
      A model that was trained on one table is to be used on another (covariate shift): its training
      rows get the weights p_target / p_train.

      >>> import numpy as np
      >>> import pandas as pd
      >>> from nce_jax.sklearn import LogRatioEstimator
      >>> rng = np.random.default_rng(0)
      >>> train = pd.DataFrame({"age": rng.normal(40, 10, 1500), "dose": rng.normal(0, 1, 1500)})
      >>> target = pd.DataFrame({"age": rng.normal(47, 10, 1000), "dose": rng.normal(0, 1, 1000)})
      >>> ratio = LogRatioEstimator(random_state=0).fit(target, X_reference=train)
      >>> ratio.estimate_.model, ratio.estimate_.is_reliable
      ('linear', True)
      >>> weights = ratio.importance_weights(train, self_normalized=True)
      >>> before, after = train["age"].mean(), np.average(train["age"], weights=weights)
      >>> print(f"age {before:.0f}, weighted {after:.0f}, target {target['age'].mean():.0f}")
      age 40, weighted 47, target 47

    References:
      Shimodaira, Improving predictive inference under covariate shift by weighting the
        log-likelihood function, 2000.
      Sugiyama, Suzuki and Kanamori, Density Ratio Estimation in Machine Learning, 2012, section 4.
      Bickel, Brückner and Scheffer, Discriminative learning under covariate shift, 2009.
    """

    def __init__(
        self,
        *,
        model: Any = None,
        criterion: Any = None,
        optimizer: Any = None,
        num_steps: int | None = None,
        batch_size: int = 512,
        held_out: float = 0.2,
        block_size: int | None = None,
        progress: bool = False,
        random_state: Any = None,
    ) -> None:
        self.model = model
        self.criterion = criterion
        self.optimizer = optimizer
        self.num_steps = num_steps
        self.batch_size = batch_size
        self.held_out = held_out
        self.block_size = block_size
        self.progress = progress
        self.random_state = random_state

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        X_reference: Any = None,
        sample_weight: Any = None,
        sample_weight_reference: Any = None,
        groups: Any = None,
        groups_reference: Any = None,
    ) -> "LogRatioEstimator":
        """Fits log p_data(x) / p_reference(x), and assesses it on held-out rows.

        Args:
          X: the data, (n, dim), an array or a DataFrame of numbers; with `y`, rows of both sets.
          y: two labels, (n,), of which the second in sorted order marks the data; None with
            `X_reference`.
          X_reference: the reference, (m, dim), with the columns of X in the same order.
          sample_weight: weights >= 0 of the rows of X, (n,).
          sample_weight_reference: weights >= 0 of the rows of X_reference, (m,).
          groups: labels of rows of X that depend on one another, (n,), and are held out together.
          groups_reference: the same of X_reference, (m,).

        Returns:
          The estimator. A warning, `ratio_estimation.UnreliableRatioWarning`, names the reasons
          where the ratio is not to be relied on.

        Raises:
          TypeError: what `fit_log_ratio` refuses.
          ValueError: both or neither of y and X_reference, fewer than six rows of a set, other
            columns, NaN or infinity, labels that are not two, or what `fit_log_ratio` refuses.
        """
        given = {
            "sample_weight": sample_weight,
            "sample_weight_reference": sample_weight_reference,
            "groups": groups,
            "groups_reference": groups_reference,
        }
        sets = self._sets(X, y, X_reference, is_fit=True, **given)
        check_num_rows(sets)
        seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        options = {} if self.criterion is None else {"criterion": self.criterion}
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            self.estimate_: LogRatioEstimate = fit_log_ratio(
                jax.random.key(seed), sets.data.x, sets.reference.x,
                model=self.model, optimizer=self.optimizer, num_steps=self.num_steps,
                batch_size=self.batch_size, held_out=self.held_out, block_size=self.block_size,
                groups_data=sets.data.groups, groups_noise=sets.reference.groups,
                weights_data=sets.data.weights, weights_noise=sets.reference.weights,
                progress=self.progress, **options,
            )  # fmt: skip
        for warning in caught:  # they were given for the caller of `fit_log_ratio`
            warnings.warn(warning.message, warning.category, stacklevel=2)
        self.classes_ = sets.classes
        self._is_reference_weighted = sets.reference.weights is not None
        totals = np.array([sets.reference.total, sets.data.total])
        self.class_prior_ = totals / totals.sum()
        return self

    def predict_log_ratio(self, X: Any) -> np.ndarray:
        """Log p_data(x) - log p_reference(x) of rows, in nats.

        Args:
          X: rows, (n, dim), with the columns of the fit.

        Returns:
          One number per row, (n,), float64.
        """
        check_is_fitted(self)
        check_columns("X", X)
        return self._log_ratio(validate_data(self, X, dtype=np.float64, reset=False))

    def importance_weights(self, X: Any, *, self_normalized: bool = False) -> np.ndarray:
        """Weights p_data(x) / p_reference(x), which turn means over the reference into the data's.

        For covariate shift, fit the target as data and the training table as reference, and weight
        the training rows. The mean weight over the reference is one up to errors of the estimate.

        Args:
          X: rows of the reference, (n, dim).
          self_normalized: whether to divide the weights by their mean, which removes the error of
            the normalizer. Only ratios of weights matter to most uses, as `sample_weight`.

        Returns:
          The weights, (n,), float64. A warning, `ratio_estimation.UnreliableRatioWarning`, is given
          where the two sets of the fit hardly overlap, where the weights are worth fewer than a
          tenth of the rows (Kish's effective sample size), and where their mean is far from one
          (by four standard errors and a third), as that of rows which are not the reference's is.
          The mean is not looked at if the fit had weights of the reference.
        """
        check_flag("self_normalized", self_normalized)
        log_ratio = self.predict_log_ratio(X)
        relative = np.exp(log_ratio - log_ratio.max())
        if problems := self._weight_problems(log_ratio):
            text = "importance_weights: " + "; ".join(problems)
            warnings.warn(text, UnreliableRatioWarning, stacklevel=2)
        return relative / relative.mean() if self_normalized else np.exp(log_ratio)

    def score(
        self,
        X: Any,
        y: Any = None,
        *,
        X_reference: Any = None,
        sample_weight: Any = None,
        sample_weight_reference: Any = None,
    ) -> float:
        """The gain of the log loss over a guess, in nats: the higher, the better.

        It is 2 log 2 minus the NCE loss with both sets at equal weight, a proper score: among all
        ratios the true one has the highest expectation, twice the Jensen-Shannon divergence of the
        two densities. A ratio of 1 has 0, and no ratio more than 1.386.

        Args:
          X: rows of the data, or, with `y`, of both sets.
          y: labels, as in `fit`.
          X_reference: rows of the reference.
          sample_weight: weights of the rows of X.
          sample_weight_reference: weights of the rows of X_reference.

        Returns:
          The gain.
        """
        check_is_fitted(self)
        weights = {
            "sample_weight": sample_weight,
            "sample_weight_reference": sample_weight_reference,
        }
        sets = self._sets(X, y, X_reference, is_fit=False, **weights)
        loss = 0.0
        for side, sign in ((sets.data, -1), (sets.reference, 1)):
            terms = np.logaddexp(0, sign * self._log_ratio(side.x))
            loss += np.average(terms, weights=side.weights)
        return float(2 * np.log(2) - loss)

    def decision_function(self, X: Any) -> np.ndarray:
        """Log odds that a row belongs to the data, at the proportions of the fit.

        Args:
          X: rows, (n, dim).

        Returns:
          The log ratio plus the log of the proportion of the two sets, (n,).
        """
        log_ratio = self.predict_log_ratio(X)
        reference, data = np.log(self.class_prior_)
        return log_ratio + data - reference

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities that a row belongs to the reference, and to the data, (n, 2).

        Args:
          X: rows, (n, dim).

        Returns:
          Both probabilities at the proportions of the fit, in the order of `classes_`.
        """
        logits = self.decision_function(X)
        return np.exp(-np.logaddexp(0, np.stack([logits, -logits], axis=1)))

    def predict(self, X: Any) -> np.ndarray:
        """The more probable label of every row, (n,), at the proportions of the fit.

        Args:
          X: rows, (n, dim).

        Returns:
          Labels out of `classes_`.
        """
        is_data = self.decision_function(X) > 0
        return self.classes_[is_data.astype(int)]

    def __sklearn_tags__(self) -> Any:
        """Two labels only, as scikit-learn's machinery asks for it."""
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags

    def _weight_problems(self, log_ratio: np.ndarray) -> list[str]:
        """What speaks against means by these weights, in words and numbers."""
        problems, relative = [], np.exp(log_ratio - log_ratio.max())
        size, overlap = relative.sum() ** 2 / np.square(relative).sum(), self.estimate_.overlap
        if not overlap >= _MIN_OVERLAP:
            problems.append(
                f"the overlap of the two sets is {overlap:.2g}, below {_MIN_OVERLAP}: the weights"
                " are extrapolated; where no row of the reference is like the data, no weighting"
                " helps, nor does fit_telescope"
            )
        is_small = not size >= _MIN_SHARE * len(relative)
        if is_small:
            problems.append(
                f"{len(relative)} rows are worth {size:.3g} after weighting: means by these"
                " weights rest on few rows"
            )
        if overlap >= _MIN_OVERLAP and not self._is_reference_weighted:
            weights = np.exp(log_ratio)
            mean, error = weights.mean(), weights.std() / np.sqrt(len(weights))
            # Over the data it is above one, as E_p[p / q] is. A few rows alone, which may have
            # missed the largest weights, can have one below it.
            distance = max(mean - 1, 0 if is_small else 1 - mean)
            is_far = distance > max(_MAX_ERRORS * error, _MAX_DISTANCE)
            if len(weights) >= _MIN_ROWS and is_far:
                problems.append(
                    f"the mean weight is {mean:.3g} +- {error:.2g}, where that of rows of the"
                    " reference is about 1: weights are for rows of X_reference (class"
                    f" {self.classes_[0]}), and not for those of the data or of other tables"
                )
        return problems

    def _log_ratio(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(self.estimate_.log_ratio(jnp.asarray(x)), np.float64)

    def _sets(self, X: Any, y: Any, X_reference: Any, *, is_fit: bool, **given: Any) -> Sets:
        if y is not None and X_reference is not None:
            raise ValueError("y, X_reference: expected one of the two, got both")
        if X_reference is not None:
            return by_reference(self, X, X_reference, reset=is_fit, **given)
        if y is None:
            # The second part is scikit-learn's own wording, which its checks ask for.
            raise ValueError(
                "X_reference: expected a second set of rows, or labels y of the rows of X, got"
                " neither: LogRatioEstimator requires y to be passed, but the target y is None"
            )
        return by_labels(self, X, y, classes=None if is_fit else self.classes_, **given)
