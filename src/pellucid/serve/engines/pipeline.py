"""The model's own predict, untouched; and what every engine offers."""

from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    import pandas as pd

Name = Literal["pipeline", "exact", "onnx"]


class Unfit(Exception):  # noqa: N818  an outcome of a proof, not an error
    """Why an engine can't compute a model."""


class Engine(Protocol):
    """Predicts for frames that have the columns and types of the signature."""

    name: Name
    fallback: "Pipeline"
    """What it is held against."""

    def predict(self, inputs: "pd.DataFrame") -> Any:
        """An array with one label a row."""

    def scores(self, inputs: "pd.DataFrame") -> Any:
        """An array of probabilities or values, a row a row; None where the model has none. Only for proofs."""


class Pipeline:
    """Always right. `raw`: its scores are the values before they are made probabilities, where it has such."""

    name: Name = "pipeline"

    def __init__(self, estimator: Any, *, raw: bool = False) -> None:
        self.estimator = estimator
        self.fallback = self
        self._methods = ("decision_function", "predict_proba") if raw else ("predict_proba", "decision_function")

    def predict(self, inputs: "pd.DataFrame") -> Any:
        found = self.estimator.predict(inputs)
        if hasattr(found, "tolist"):
            return found
        import numpy as np

        return np.asarray(found)  # who writes a predict of one's own may return a list

    def scores(self, inputs: "pd.DataFrame") -> Any:
        for method in self._methods:
            if hasattr(self.estimator, method):
                return getattr(self.estimator, method)(inputs)
        return None


def split(estimator: Any) -> tuple[list[Any], Any]:
    """(fitted transformers in their order, final estimator) of a pipeline, a search over one, or a bare estimator."""
    estimator = getattr(estimator, "best_estimator_", estimator)
    steps = getattr(estimator, "steps", None)
    if steps is None:
        return [], estimator
    before = [step for _, step in steps[:-1] if step is not None and step != "passthrough"]
    inner, last = split(steps[-1][1])
    return before + inner, last


def transformed(transformers: list[Any], inputs: Any) -> Any:
    """What the final estimator gets."""
    for transformer in transformers:
        inputs = transformer.transform(inputs)
    return inputs
