"""Two sets of rows in the forms that scikit-learn has for them: with labels, or as two arrays."""

from typing import Any, NamedTuple

import numpy as np
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import column_or_1d, validate_data

from nce_jax._contracts import ENCODE_CATEGORIES

REFERENCE, DATA = 0, 1
_MIN_ROWS = 6
"""The smallest number of rows of a set that `fit_log_ratio` can fit to, choose by and assess."""


class Set(NamedTuple):
    """Rows of one set, (n, dim), and what was given for each of them, (n,), or None."""

    x: np.ndarray
    weights: np.ndarray | None
    groups: np.ndarray | None

    @property
    def total(self) -> float:
        """The sum of the weights, or the number of rows."""
        return float(len(self.x) if self.weights is None else self.weights.sum())


class Sets(NamedTuple):
    """Both sets, and their two labels: that of the reference, then that of the data."""

    data: Set
    reference: Set
    classes: np.ndarray


def by_reference(estimator: Any, X: Any, X_reference: Any, *, reset: bool, **given: Any) -> Sets:
    """The sets of two arrays. Columns of the reference are checked against those of the data.

    `given` may have sample_weight, sample_weight_reference, groups and groups_reference.
    """
    check_columns("X", X)
    check_columns("X_reference", X_reference)
    x = validate_data(estimator, X, dtype=np.float64, ensure_min_samples=2, reset=reset)
    x_reference = validate_data(estimator, X_reference, dtype=np.float64, reset=False)
    data, reference = (
        Set(side, *_columns(side, suffix, given))
        for side, suffix in ((x, ""), (x_reference, "_reference"))
    )
    return Sets(data, reference, np.array([REFERENCE, DATA]))


def by_labels(
    estimator: Any, X: Any, y: Any, *, classes: np.ndarray | None = None, **given: Any
) -> Sets:
    """The sets of one array with two labels, of which the second in order is that of the data.

    `classes` are the labels of the fit; None takes them from y, as a fit does.
    """
    for name in ("sample_weight_reference", "groups_reference"):
        if given.get(name) is not None:
            raise ValueError(
                f"{name}: expected None without X_reference, got values; those of all rows go into"
                f" {name.removesuffix('_reference')}"
            )
    options = {"dtype": np.float64, "ensure_min_samples": 2, "reset": classes is None}
    check_columns("X", X)
    x, y = validate_data(estimator, X, y, **options)
    y = column_or_1d(y, warn=True)
    check_classification_targets(y)
    found = np.unique(y) if classes is None else classes
    if len(found) > 2:
        raise ValueError(
            f"y: expected labels of two sets, reference and data, got {len(found)} labels. Only"
            f" binary classification is supported. The type of the target is {type_of_target(y)}."
        )
    masks = [y == label for label in found]
    if len(found) < 2 or not (all(map(np.any, masks)) and np.any(masks, axis=0).all()):
        expected = "two" if classes is None else f"the two of the fit, {found.tolist()}"
        raise ValueError(
            f"y: expected labels of {expected} sets, reference and data, both present, got"
            f" {len(np.unique(y))} class(es), {np.unique(y).tolist()[:5]}"
        )
    columns = _columns(x, "", given)
    reference, data = (
        Set(x[mask], *(column if column is None else column[mask] for column in columns))
        for mask in masks
    )
    return Sets(data, reference, found)


def check_columns(name: str, X: Any) -> None:
    """Raises where a column of a table holds no numbers; scikit-learn's errors do not name it."""
    if not (hasattr(X, "columns") and hasattr(X, "dtypes")):
        return
    for column in X.columns:
        values = X[column]
        kind = getattr(getattr(values, "dtype", None), "kind", "f")
        cure = ""
        if kind in "mM":
            cure = "subtract a date and divide by a duration, such as pandas.Timedelta(days=1)"
        elif kind not in "biufc" and not _is_number(values):
            cure = ENCODE_CATEGORIES
        if cure:
            raise ValueError(
                f"{name}: expected columns of numbers, got dtype {values.dtype} in column"
                f" {column!r}; {cure}"
            )


def _is_number(values: Any) -> bool:
    try:
        np.asarray(values, np.float64)
    except (TypeError, ValueError):
        return False
    return True


def check_num_rows(sets: Sets) -> None:
    """Raises where a set has too few rows of positive weight."""
    for name in ("data", "reference"):
        x, weights, _ = getattr(sets, name)
        count = len(x) if weights is None else int(np.count_nonzero(weights))
        if count < _MIN_ROWS:
            raise ValueError(
                f"X: expected at least {_MIN_ROWS} rows of each class whose weight is not zero,"
                f" since some are held out, got {count} of the {name}"
            )


def _columns(x: np.ndarray, suffix: str, given: dict[str, Any]) -> tuple[Any, Any]:
    """Weights and groups of the rows; raises unless there is one for each row."""
    columns: list[np.ndarray | None] = []
    for name, dtype in ((f"sample_weight{suffix}", np.float64), (f"groups{suffix}", None)):
        values = given.get(name)
        if values is None:
            columns.append(None)
            continue
        array = np.asarray(values, dtype)
        if array.shape != (len(x),):
            raise ValueError(
                f"{name}: expected one value per row, shape ({len(x)},), got shape {array.shape}"
            )
        columns.append(array)
    weights, groups = columns
    return weights, groups
