"""Forests and boosted trees as a direct sum of their trees, in the order of scikit-learn's own sums, so that every bit is the same.

Most of the time of a small forest's `predict` goes into validation and a pool of threads for each call (sklearn/ensemble/_forest.py). The sums
here follow `ForestClassifier.predict_proba`, `ForestRegressor.predict` and `predict_stages` of sklearn/ensemble/_gradient_boosting.pyx (1.5 to
1.9); those of histogram gradient boosting are in `histogram.py`. Rows that scikit-learn would refuse (infinite, or too large for the 32-bit floats of a
tree) go to the pipeline, which says so.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from pellucid.serve.engines.pipeline import Name, Pipeline, Unfit, split, transformed

Sum = Callable[[Any], Any]
"""Matrix → one row of class shares, or one value, a row."""


class Exact:
    """Raises Unfit where the final estimator is no forest or boosting that it knows."""

    name: Name = "exact"

    def __init__(self, estimator: Any) -> None:
        self.fallback = Pipeline(estimator, raw=True)
        self.transformers, final = split(estimator)
        self._sum, self._label = _understood(final)
        self._histogram = _is_histogram(final)
        self._width = final.n_features_in_
        self._missing = not self._histogram and _takes_missing(final)

    def predict(self, inputs: pd.DataFrame) -> Any:
        matrix = self._matrix(inputs)
        return self.fallback.predict(inputs) if matrix is None else self._label(self._sum(matrix))

    def scores(self, inputs: pd.DataFrame) -> Any:
        matrix = self._matrix(inputs)
        return self.fallback.scores(inputs) if matrix is None else self._sum(matrix)

    def _matrix(self, inputs: pd.DataFrame) -> Any:
        """None where scikit-learn itself has to see these rows."""
        found = transformed(self.transformers, inputs)
        if not isinstance(found, np.ndarray | pd.DataFrame) or found.shape[1:] != (self._width,):
            return None  # a tree does not look how many columns there are
        if self._histogram:  # it takes any 64-bit floats (`_preprocess_X`)
            return np.ascontiguousarray(found, dtype=np.float64)
        with np.errstate(over="ignore"):
            matrix = np.ascontiguousarray(found, dtype=np.float32)
        if np.isfinite(matrix.sum()):
            return matrix
        return matrix if self._missing and not np.isinf(matrix).any() else None


def _understood(final: Any) -> tuple[Sum, Callable[[Any], Any]]:
    """(the sum of the trees, the label made of it)."""
    from sklearn import ensemble, tree

    if getattr(final, "n_outputs_", 1) != 1:
        raise Unfit("it has several outputs")
    if isinstance(final, ensemble.RandomForestClassifier | ensemble.ExtraTreesClassifier):
        return _mean([one.tree_ for one in final.estimators_], len(final.classes_)), _most(final.classes_)
    if isinstance(final, ensemble.RandomForestRegressor | ensemble.ExtraTreesRegressor):
        mean = _mean([one.tree_ for one in final.estimators_], 1)
        return lambda matrix: mean(matrix)[:, 0], _itself
    if isinstance(final, tree.DecisionTreeClassifier):
        only, classes = final.tree_, final.classes_
        return lambda matrix: only.predict(matrix)[:, : len(classes)], _most(classes)
    if isinstance(final, tree.DecisionTreeRegressor):
        only = final.tree_
        return lambda matrix: only.predict(matrix)[:, 0], _itself
    if isinstance(final, ensemble.GradientBoostingClassifier | ensemble.GradientBoostingRegressor):
        return _boosted(final)
    if _is_histogram(final):
        return _boosted_by_histograms(final)
    raise Unfit(f"{type(final).__name__} is no forest, tree or gradient boosting of scikit-learn")


def _mean(trees: list[Any], width: int) -> Sum:
    def mean(matrix: Any) -> Any:
        total = np.zeros((len(matrix), width), dtype=np.float64)
        for one in trees:
            total += one.predict(matrix)[:, :width]
        total /= len(trees)
        return total

    return mean


def _boosted(final: Any) -> tuple[Sum, Callable[[Any], Any]]:
    stages = [[one.tree_ for one in stage] for stage in final.estimators_]
    rate, begin = final.learning_rate, final._raw_predict_init  # noqa: SLF001  the proof fails where a version has it no more

    def raw(matrix: Any) -> Any:
        total = begin(matrix)
        for stage in stages:
            for place, one in enumerate(stage):
                total[:, place] += rate * one.predict(matrix)[:, 0]
        return total[:, 0] if total.shape[1] == 1 else total

    classes = getattr(final, "classes_", None)
    if classes is None:
        return raw, _itself
    if len(classes) == 2:
        return raw, lambda total: classes.take((total >= 0).astype(int))
    return raw, _most(classes)


def _is_histogram(final: Any) -> bool:
    from sklearn import ensemble

    return isinstance(final, ensemble.HistGradientBoostingClassifier | ensemble.HistGradientBoostingRegressor)


def _boosted_by_histograms(final: Any) -> tuple[Sum, Callable[[Any], Any]]:
    from pellucid.serve.engines.histogram import raw_sum

    raw, classes = raw_sum(final), getattr(final, "classes_", None)
    if classes is None:
        inverse = final._loss.link.inverse  # noqa: SLF001  as `HistGradientBoostingRegressor.predict`
        return raw, inverse
    if len(classes) == 2:
        return raw, lambda total: classes[(total > 0).astype(int)]
    return raw, _most(classes)


def _most(classes: Any) -> Callable[[Any], Any]:
    return lambda shares: classes.take(shares.argmax(axis=1))


def _itself(values: Any) -> Any:
    return values


def _takes_missing(final: Any) -> bool:
    """Whether scikit-learn predicts rows with NaN: trees and forests do (`_support_missing_values`, 1.4), gradient boosting refuses them."""
    trees = getattr(final, "estimators_", None)
    first = final if trees is None else trees[0]
    asked = getattr(first, "_support_missing_values", None)
    return asked is not None and bool(asked(np.empty((1, 1), dtype=np.float32)))
