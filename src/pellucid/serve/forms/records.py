r"""POST /predict: a list of records, or one; the answer has the id and the prediction of each.

A body that is a JSON string which itself holds the JSON of records, as `requests.post(url, json=frame.to_json(orient="records"))` makes it, is
taken too, and answered in kind: `{"predictions": "[{\"0\":\"LP001015\",\"1\":\"Y\"}]"}`, pandas' `to_json` of two unnamed columns.
`?format=text` asks for that answer, `?format=records` for the plain one.
"""

from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qs

import msgspec

from pellucid.serve.forms.form import Asked, encode
from pellucid.serve.package import Model
from pellucid.serve.records import NO_JSON, BadInput, Problem, not_json

FORMATS = ("records", "text")


class Records:
    route = 0

    def __init__(self, model: Model) -> None:
        self.model = model
        name, version = model.manifest.name, model.manifest.version
        self._tail = b"," + encode({"model": name, "version": version})[1:]

    def read(self, body: bytes, query: str) -> Asked:
        text = body[:1] == b'"' or body.lstrip()[:1] == b'"'
        if text:
            body = _inner(body)
        records = self.model.reader.read(body)
        wanted = _format(query) if query else ""
        if wanted == "text" or (text and not wanted):
            return Asked(records, lambda labels: self._twice(records, labels))
        return Asked(records, lambda labels: self._plain(records, labels))

    def _plain(self, records: list[Any], labels: Sequence[Any]) -> bytes:
        return b'{"predictions":' + encode(self.model.answers(records, labels)) + self._tail

    def _twice(self, records: list[Any], labels: Sequence[Any]) -> bytes:
        keyed = self.model.manifest.signature.id_column is not None
        ids = list(map(self.model.reader.ids, records)) if keyed else list(range(len(records)))
        pairs = [{"0": one, "1": label} for one, label in zip(ids, labels, strict=True)]
        return b'{"predictions":' + encode(encode(pairs).decode()) + self._tail

    def status(self, status: int) -> int:
        return status

    def refusal(self, detail: Any, more: dict[str, Any]) -> bytes:
        return encode({"detail": detail, **more})


def _inner(body: bytes) -> bytes:
    try:
        return msgspec.json.decode(body, type=str).encode()
    except (*NO_JSON, UnicodeEncodeError) as error:
        raise not_json(error) from error


def _format(query: str) -> str:
    asked = parse_qs(query).get("format", [""])[-1]
    if asked and asked not in FORMATS:
        raise BadInput(422, Problem(("query", "format"), f"must be {' or '.join(FORMATS)}, not {asked[:40]!r}"))
    return asked
