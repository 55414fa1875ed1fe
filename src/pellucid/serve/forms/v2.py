"""POST /v2/models/NAME/infer: the Open Inference Protocol V2 over REST, with one input tensor a column.

(Specification: kserve/open-inference-protocol, specification/protocol/inference_rest.md.) A tensor has the shape [N] or [N, 1]; its data may
be flat or nested; `null` stands for a missing value where the column takes one, and NaN can't be written in JSON. The id column is an
optional input and comes back as an output of its name. Refusals are 400 with `{"error": ...}`, which is all that the protocol knows.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from pellucid.serve.forms.form import Asked, encode, sentence
from pellucid.serve.package import Model
from pellucid.serve.records import NO_JSON, BadInput, Problem, not_json
from pellucid.serve.signature import Column, Kind

DATATYPES = {"number": "FP64", "whole": "INT64", "boolean": "BOOL", "text": "BYTES"}
INTEGERS = frozenset({"INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"})
TAKEN = {
    "number": INTEGERS | {"FP16", "FP32", "FP64"},
    "whole": INTEGERS,
    "boolean": frozenset({"BOOL"}),
    "text": frozenset({"BYTES"}),
}


_KINDS: dict[str, Kind] = {"BYTES": "text", "BOOL": "boolean"}


class Tensor(Struct):
    name: str
    shape: list[int]
    datatype: str
    data: list[Any]
    parameters: dict[str, Any] | None = None


class Output(Struct):
    name: str
    parameters: dict[str, Any] | None = None


class Inference(Struct):
    inputs: list[Tensor]
    id: str | None = None
    parameters: dict[str, Any] | None = None
    outputs: list[Output] | None = None


class V2:
    def __init__(self, model: Model, route: int = 2) -> None:
        self.model = model
        self.route = route
        self.signature = model.manifest.signature
        self._columns = {column.name: column for column in self.signature.columns}
        if self.signature.id_column is not None:
            self._columns[self.signature.id_column] = Column(self.signature.id_column, "text", nullable=True)
        self._decoder = msgspec.json.Decoder(Inference)

    def read(self, body: bytes, query: str) -> Asked:  # noqa: ARG002  all of it is in the body
        asked = self._decode(body)
        offered = [output["name"] for output in self.metadata()["outputs"]]
        outputs = [output.name for output in asked.outputs] if asked.outputs else offered
        if unknown := [name for name in outputs if name not in offered]:
            msg = f"{unknown[0]!r} is no output of this model, only {', '.join(offered)}"
            raise BadInput(400, Problem(("body", "outputs"), msg))
        records = self.model.reader.check(self._records(asked.inputs))
        return Asked(records, lambda labels: self._render(asked.id, outputs, records, labels))

    def _decode(self, body: bytes) -> Inference:
        try:
            return self._decoder.decode(body)
        except msgspec.ValidationError as error:
            raise BadInput(400, Problem(("body",), f"is no inference request: {error}")) from error
        except NO_JSON as error:
            raise not_json(error) from error

    def _records(self, inputs: list[Tensor]) -> list[dict[str, Any]]:
        if not inputs:
            raise BadInput(400, Problem(("body", "inputs"), f"is empty; there are {', '.join(self._columns)}"))
        columns: dict[str, list[Any]] = {}
        for number, tensor in enumerate(inputs):
            if tensor.name in columns:
                raise BadInput(400, Problem(("body", "inputs", number), f"{tensor.name!r} stands there twice"))
            columns[tensor.name] = self._values(number, tensor)
        counts = {name: len(values) for name, values in columns.items()}
        if len(set(counts.values())) > 1:
            told = ", ".join(f"{name} {count}" for name, count in counts.items())
            raise BadInput(400, Problem(("body", "inputs"), f"have different numbers of rows: {told}"))
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def _values(self, number: int, tensor: Tensor) -> list[Any]:
        where = ("body", "inputs", number)
        column = self._columns.get(tensor.name)
        if column is None and not self._columns:  # a function takes what comes
            column = Column(tensor.name, _KINDS.get(tensor.datatype, "number"), nullable=True)
        if column is None:
            raise BadInput(
                400, Problem(where, f"{tensor.name!r} is no input of this model, only {', '.join(self._columns)}")
            )
        taken = TAKEN[column.kind] | (INTEGERS if column.name == self.signature.id_column else frozenset())
        if tensor.datatype not in taken:
            said = f"of {tensor.name} must be {DATATYPES[column.kind]}, not {tensor.datatype[:20]!r}"
            raise BadInput(400, Problem((*where, "datatype"), said))
        values = _flat(tensor.data)
        if not (len(tensor.shape) == 1 or (len(tensor.shape) == 2 and tensor.shape[1] == 1)):
            said = f"of {tensor.name} must be [N] or [N, 1], not {tensor.shape[:8]}"
            raise BadInput(400, Problem((*where, "shape"), said))
        if tensor.shape[0] != len(values):
            said = f"of {tensor.name} has {len(values)} values, its shape says {tensor.shape[0]}"
            raise BadInput(400, Problem((*where, "data"), said))
        return values

    def _render(self, name: str | None, outputs: list[str], records: list[Any], labels: Sequence[Any]) -> bytes:
        manifest = self.model.manifest
        found: list[dict[str, Any]] = []
        for output in outputs:
            values = list(map(self.model.reader.ids, records)) if output == self.signature.id_column else list(labels)
            datatype = _datatype(values)
            if datatype == "BYTES":
                values = ["" if value is None else str(value) for value in values]
            found.append({"name": output, "datatype": datatype, "shape": [len(values)], "data": values})
        answer: dict[str, Any] = {"model_name": manifest.name, "model_version": str(manifest.version), "outputs": found}
        if name is not None:
            answer["id"] = name
        return encode(answer)

    def metadata(self) -> dict[str, Any]:
        """The answer of GET /v2/models/NAME."""
        manifest = self.model.manifest
        outputs = [{"name": manifest.signature.target, "datatype": self._answers(), "shape": [-1]}]
        if self.signature.id_column is not None:
            outputs.append({"name": self.signature.id_column, "datatype": "BYTES", "shape": [-1]})
        return {
            "name": manifest.name,
            "versions": [str(manifest.version)],
            "platform": f"pellucid_{self.model.engine.name}",
            "inputs": [
                {"name": column.name, "datatype": DATATYPES[column.kind], "shape": [-1]}
                for column in self._columns.values()
            ],
            "outputs": outputs,
        }

    def _answers(self) -> str:
        return _datatype(self.model.labels) if self.model.labels else "FP64"

    def status(self, status: int) -> int:
        return 400 if status == 422 else status

    def refusal(self, detail: Any, more: dict[str, Any]) -> bytes:
        return encode({"error": sentence(detail), **more})


def _flat(data: list[Any]) -> list[Any]:
    """Nested or flat, in row-major order; at most two deep is ever right here, and a check of the shape follows."""
    if data and all(isinstance(row, list) for row in data):
        return [value for row in data for value in row]
    return data


def _datatype(values: Sequence[Any]) -> str:
    kinds = {type(value) for value in values}
    if kinds == {bool}:
        return "BOOL"
    if kinds == {int}:
        return "INT64"
    return "FP64" if kinds and kinds <= {int, float} else "BYTES"
