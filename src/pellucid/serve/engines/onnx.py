"""The final estimator as an ONNX graph, computed by onnxruntime in 32-bit floats (extra `onnx`).

The graph is made once, when the model is stored, and kept beside it: serving needs onnxruntime but not skl2onnx. One thread: a session with a
pool of its own could not be forked, and the workers are what runs in parallel.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from pellucid.model.errors import UsageError
from pellucid.serve.engines.pipeline import Name, Pipeline, Unfit, split, transformed
from pellucid.serve.signature import Column, Kind

if TYPE_CHECKING:
    import pandas as pd


class Onnx:
    """Raises Unfit without onnxruntime, or where the model has no ONNX form."""

    name: Name = "onnx"

    def __init__(self, estimator: Any, content: bytes | None) -> None:
        if content is None:
            raise Unfit("the model was stored without its ONNX form")
        self.fallback = Pipeline(estimator)
        self.transformers, final = split(estimator)
        self._session = session(content)
        self._input = self._session.get_inputs()[0].name
        self._classes = getattr(final, "classes_", None)

    def predict(self, inputs: "pd.DataFrame") -> Any:
        found = self._run(inputs)
        if self._classes is None:
            return found[0].reshape(-1).astype(np.float64)
        return self._classes.take(found[0].reshape(-1))

    def scores(self, inputs: "pd.DataFrame") -> Any:
        found = self._run(inputs)
        return found[0] if self._classes is None else found[1]

    def _run(self, inputs: "pd.DataFrame") -> list[Any]:
        matrix = np.ascontiguousarray(transformed(self.transformers, inputs), dtype=np.float32)
        found: list[Any] = self._session.run(None, {self._input: matrix})
        return found


class Graph:
    """A whole model that came as an ONNX file: predicts from the columns of its signature.

    It has either one input of the shape [N, columns], or one input of the shape [N, 1] a column, as skl2onnx makes them.
    """

    def __init__(self, content: bytes, columns: list[str]) -> None:
        self._session = session(content)
        self._inputs = self._session.get_inputs()
        self._columns = columns

    def predict(self, inputs: "pd.DataFrame") -> Any:
        """The first output, which is the labels or the values."""
        if len(self._inputs) == 1 and len(self._columns) != 1:
            (only,) = self._inputs
            given = {only.name: np.ascontiguousarray(inputs[self._columns], dtype=ELEMENTS[only.type])}
        else:
            given = {
                one.name: inputs[one.name].to_numpy(dtype=ELEMENTS[one.type]).reshape(-1, 1) for one in self._inputs
            }
        return np.asarray(self._session.run(None, given)[0]).reshape(len(inputs))


ELEMENTS: dict[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
    "tensor(string)": object,
}


def columns(content: bytes) -> "tuple[Column, ...] | None":
    """The columns that a graph takes; None where its inputs are no columns. Raises UsageError."""
    try:
        inputs = session(content).get_inputs()
    except Unfit as unfit:
        raise UsageError(tried="read the ONNX graph", said=str(unfit), remedy="pip install 'pellucid[onnx]'") from unfit
    kinds: dict[str, Kind] = {
        "tensor(float)": "number", "tensor(double)": "number", "tensor(int64)": "whole", "tensor(int32)": "whole",
        "tensor(bool)": "boolean", "tensor(string)": "text",
    }  # fmt: skip
    if any(one.type not in kinds for one in inputs):
        return None
    if (
        len(inputs) == 1
        and len(inputs[0].shape) == 2
        and isinstance(inputs[0].shape[1], int)
        and inputs[0].shape[1] > 1
    ):
        (only,) = inputs
        return tuple(
            Column(f"{only.name}{number}", kinds[only.type], nullable=False) for number in range(only.shape[1])
        )
    if all(len(one.shape) == 1 or (len(one.shape) == 2 and one.shape[1] == 1) for one in inputs):
        return tuple(Column(one.name, kinds[one.type], nullable=False) for one in inputs)
    return None


def session(content: bytes) -> Any:
    """An onnxruntime session that starts no thread. Raises Unfit where it is not installed or does not take the graph."""
    try:
        import onnxruntime
    except ImportError:
        raise Unfit("onnxruntime is not installed (pip install 'pellucid[onnx]')") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise Unfit(f"onnxruntime refuses it: {type(error).__name__}: {str(error)[:200]}") from error


def convert(estimator: Any, inputs: "pd.DataFrame") -> bytes:
    """The final estimator's graph, with class numbers as labels. Raises Unfit."""
    try:
        from skl2onnx import to_onnx
    except ImportError:
        raise Unfit("skl2onnx is not installed (pip install 'pellucid[onnx]')") from None
    transformers, final = split(estimator)
    matrix = transformed(transformers, inputs)
    try:
        matrix = np.ascontiguousarray(matrix, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise Unfit(f"the final estimator's input is no matrix of numbers: {error}") from error
    classes = getattr(final, "classes_", None)
    try:
        renamed = final if classes is None else _numbered(final, len(classes))
        options = None if classes is None else {id(renamed): {"zipmap": False}}
        content: bytes = to_onnx(renamed, matrix[:1], options=options).SerializeToString()
    except Exception as error:
        raise Unfit(f"skl2onnx can't convert it: {type(error).__name__}: {str(error)[:200]}") from error
    return content


def _numbered(final: Any, classes: int) -> Any:
    """A shallow copy whose labels are 0, 1, ...: texts would be made anew for each row."""
    import copy

    numbered = copy.copy(final)
    numbered.classes_ = np.arange(classes, dtype=np.int64)
    return numbered
