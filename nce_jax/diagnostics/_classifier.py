"""The classifier two-sample test, by scikit-learn."""

import warnings
from typing import Any, NamedTuple

import jax
import numpy as np

from nce_jax._checks import check_key, check_positive_int
from nce_jax._extras import missing_extra
from nce_jax._options import check_choice
from nce_jax._types import ArrayLike, Float, PRNGKeyArray
from nce_jax.diagnostics._features import as_feature_pair

_CLASSIFIERS = ("mlp", "nearest", "logistic")

_WIDTH = (32, 128)
"""The smallest and the largest width of the perceptron's two layers; ten per feature between."""


class ClassifierTest(NamedTuple):
    """How well a classifier tells two sets apart, on samples that it was not trained on.

    Attributes:
      accuracy: the fraction of samples of either set that is recognized, the mean over both sets;
        0.5 where the distributions are the same, and 1 where they are separated.
      standard_error: its standard error for independent samples. That of independent trials is
        raised by sqrt(1 + k / (k - 1)) with k folds, since their training sets share samples: where
        the distributions are the same, the accuracy varies by up to that much more.
      num_samples: number of samples of each set that took part.
    """

    accuracy: float
    standard_error: float
    num_samples: int


def c2st(
    key: PRNGKeyArray,
    x: Float[ArrayLike, "n dim"],
    y: Float[ArrayLike, "m dim"],
    *,
    classifier: str = "mlp",
    num_folds: int = 5,
) -> ClassifierTest:
    """Classifier two-sample test: the cross-validated accuracy of telling two sets apart.

    Every sample is classified once, by a classifier trained on the other folds. Features are
    standardized by the training folds. Of the larger set, as many samples are drawn as the smaller
    one has, so that guessing is right in half of all cases. An accuracy near 0.5 shows that this
    classifier finds no difference, and not that there is none; it is below 0.5 where the same rows
    are in both sets. It needs the extra `c2st`.

    Args:
      key: typed key for the folds, the draw and the perceptron's initial weights.
      x: samples or features of the first set, (n, dim).
      y: samples or features of the second set, (m, dim).
      classifier: "mlp", a perceptron with two layers; "nearest", the majority of the sqrt(n)
        nearest neighbors; or "logistic", logistic regression, which sees means alone.
      num_folds: number of folds, each with equal shares of both sets.

    Returns:
      A `ClassifierTest`.

    Raises:
      ImportError: scikit-learn is not installed.
      TypeError: a key that is not typed, features that are no real numbers, or traced by `jit`, or
        a number of folds that is no integer.
      ValueError: features that are not (n, dim) with at least two samples per fold, of different
        dimensions, or not finite; fewer than two folds; or another classifier.

    Examples:
      >>> import jax
      >>> import numpy as np
      >>> from nce_jax import diagnostics
      >>> rng = np.random.default_rng(0)
      >>> x, y = rng.normal(1, 1, (500, 1)), rng.normal(-1, 1, (500, 1))
      >>> result = diagnostics.c2st(jax.random.key(0), x, y, classifier="logistic")
      >>> abs(result.accuracy - 0.841) < 3 * result.standard_error  # the best: Phi(1)
      True

    References:
      Lopez-Paz and Oquab, Revisiting classifier two-sample tests, 2017.
      Nadeau and Bengio, Inference for the generalization error, 2003 (the standard error).
      Lueckmann et al., Benchmarking simulation-based inference, 2021 (the perceptron).
    """
    check_key(key, cure_of_samples="the key comes before the samples")
    check_positive_int("num_folds", num_folds)
    if num_folds < 2:
        raise ValueError(f"num_folds: expected at least 2, got {num_folds}")
    check_choice("classifier", classifier, _CLASSIFIERS)
    x, y = as_feature_pair(x, y, min_samples=2 * num_folds)
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).tolist())
    number = min(len(x), len(y))
    pooled = np.concatenate([rng.permutation(side)[:number] for side in (x, y)])
    is_x = np.arange(2 * number) < number
    # In random order already, and balanced in both sets.
    fold = np.arange(2 * number) % number % num_folds
    is_right = np.empty(2 * number, bool)
    for index in range(num_folds):
        tested = fold == index
        model = _make(classifier, pooled[~tested], int(rng.integers(2**31)))
        _fit(model, pooled[~tested], is_x[~tested])
        is_right[tested] = model.predict(pooled[tested]) == is_x[tested]
    rates = np.array([is_right[is_x].mean(), is_right[~is_x].mean()])
    of_trials = np.sum(rates * (1 - rates)) / (number - 1) / 4
    error = np.sqrt(of_trials * (1 + num_folds / (num_folds - 1)))
    return ClassifierTest(float(rates.mean()), float(error), number)


def _make(classifier: str, train: np.ndarray, seed: int) -> Any:
    """A classifier of standardized features."""
    try:
        from sklearn.linear_model import LogisticRegression
        from sklearn.neighbors import KNeighborsClassifier
        from sklearn.neural_network import MLPClassifier
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
    except ImportError as error:
        raise missing_extra("nce_jax.diagnostics.c2st needs scikit-learn", "c2st") from error
    if classifier == "logistic":
        model = LogisticRegression(max_iter=1000)
    elif classifier == "nearest":
        # An odd number, without ties.
        model = KNeighborsClassifier(int(np.sqrt(len(train) / 2)) // 2 * 2 + 1)
    else:
        width = int(np.clip(10 * train.shape[1], *_WIDTH))
        model = MLPClassifier((width, width), max_iter=100, random_state=seed)
    return make_pipeline(StandardScaler(), model)


def _fit(model: Any, train: np.ndarray, is_x: np.ndarray) -> None:
    with warnings.catch_warnings():
        # A perceptron that could be trained further is a classifier as good as any.
        warnings.filterwarnings("ignore", message=".*converge", category=UserWarning)
        model.fit(train, is_x)
