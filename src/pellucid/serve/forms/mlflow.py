"""POST /invocations, as `mlflow models serve` takes it: dataframe_records, dataframe_split, instances or inputs; answers `{"predictions": [...]}`.

(MLflow's documentation, "Deployment: local inference server", accepted input formats.) `inputs` may be a dict of columns or a list of records.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from pellucid.serve.forms.form import Asked, encode
from pellucid.serve.package import Model
from pellucid.serve.records import NO_JSON, BadInput, Problem, not_json

KEYS = ("dataframe_split", "dataframe_records", "instances", "inputs")


class Mlflow:
    route = 1

    def __init__(self, model: Model) -> None:
        self.model = model

    def read(self, body: bytes, query: str) -> Asked:  # noqa: ARG002  all of it is in the body
        try:
            found = msgspec.json.decode(body)
        except NO_JSON as error:
            raise not_json(error) from error
        records = self.model.reader.check(_records(found, self.model.manifest.signature.names()))
        return Asked(records, self._render)

    def _render(self, labels: Sequence[Any]) -> bytes:
        return encode({"predictions": labels})

    def status(self, status: int) -> int:
        return 400 if status == 422 else status

    def refusal(self, detail: Any, more: dict[str, Any]) -> bytes:
        code = more.pop("error_code", "BAD_REQUEST")
        return encode({"error_code": code, "message": "the request can't be predicted", "detail": detail, **more})


def _records(found: Any, names: list[str]) -> Any:
    given = [key for key in KEYS if key in found] if isinstance(found, dict) else []
    if len(given) != 1:
        told = (
            "must be an object with one of " + ", ".join(KEYS) + (f", not with {len(given)} of them" if given else "")
        )
        raise BadInput(422, Problem(("body",), told))
    (key,) = given
    content = found[key]
    if key == "dataframe_split":
        return _split(content)
    if isinstance(content, dict) and key in {"inputs", "instances"}:
        return _columns(key, content)
    if (
        names
        and key in {"inputs", "instances"}
        and isinstance(content, list)
        and content
        and isinstance(content[0], list)
    ):
        return _rows(key, content, names)
    return content


def _rows(key: str, content: list[Any], names: list[str]) -> list[dict[str, Any]]:
    """A matrix: each row has the columns in their order."""
    for number, row in enumerate(content):
        if not isinstance(row, list) or len(row) != len(names):
            raise BadInput(422, Problem(("body", key, number), f"must be a list of {len(names)} values"))
    return [dict(zip(names, row, strict=True)) for row in content]


def _split(content: Any) -> list[dict[str, Any]]:
    where = ("body", "dataframe_split")
    if (
        not isinstance(content, dict)
        or not isinstance(content.get("columns"), list)
        or not isinstance(content.get("data"), list)
    ):
        raise BadInput(
            422, Problem(where, "must be an object with columns (a list of names) and data (a list of rows)")
        )
    columns = content["columns"]
    for number, row in enumerate(content["data"]):
        if not isinstance(row, list) or len(row) != len(columns):
            raise BadInput(422, Problem((*where, "data", number), f"must be a list of {len(columns)} values"))
    return [dict(zip(map(str, columns), row, strict=True)) for row in content["data"]]


def _columns(key: str, content: dict[str, Any]) -> list[dict[str, Any]]:
    """One record of plain values, or columns as lists of equal length."""
    if not any(isinstance(values, list) for values in content.values()):
        return [content]
    counts = {name: len(values) if isinstance(values, list) else -1 for name, values in content.items()}
    if len(set(counts.values())) > 1:
        raise BadInput(422, Problem(("body", key), "must have columns of the same length"))
    return [dict(zip(content, row, strict=True)) for row in zip(*content.values(), strict=True)]
