"""JSON records in, typed records out; and where they are wrong, every field by its path.

    [{"ApplicantIncome": "much"}]  →  422  {"detail": [{"loc": ["body", 0, "ApplicantIncome"], "msg": "must be a number, not a text"}]}

The quick way is one msgspec decoder made from the signature. When it refuses, the body is read again without types and judged field by
field, so that a person learns all that is wrong at once, in words; nothing is decided by the text of msgspec's message. An unknown
column is refused too: a misspelt nullable column would otherwise be a null, and the prediction another one, without a word.
"""

import difflib
import re
from collections.abc import Callable
from operator import attrgetter
from types import GenericAlias
from typing import Annotated, Any, Literal, cast

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from pellucid.serve.signature import Column, Signature

MOST_PROBLEMS = 50
"""Fields named in one refusal."""

Id = str | int | None

_NO_FIELD = re.compile(r'["\\\x00-\x1f]')
"""Signs in the name of a column for which msgspec makes no decoder (msgspec/_core.c, 0.22): such records are read the slower way."""
_INT64 = (-(2**63), 2**63 - 1)
_MISSING = object()


NO_JSON = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
"""What msgspec raises of a body that is no JSON: the last of a text that is not UTF-8."""


class Problem(Struct, frozen=True):
    """One wrong field: `loc` is its path from the body, as FastAPI spells it."""

    loc: tuple[str | int, ...]
    msg: str


class BadInput(Exception):  # noqa: N818  an answer to a client, not an error of the program
    """The request can't be predicted: `status` is 400 (no JSON), 413 (too many rows) or 422 (wrong fields)."""

    def __init__(self, status: int, *problems: Problem) -> None:
        super().__init__(status, problems)
        self.status = status
        self.problems = problems


Unseen = Callable[[int, int], None]
"""Told the number of a column and how many of its values in one request were in no training row."""


class Reader:
    """Reads the records of one signature. A record is a Struct with fields c0, c1, ... in the order of the columns, and `id`.

    A category that the training data had not is refused, or, where `unseen` is given, told to that and handed on to the model.
    """

    def __init__(self, signature: Signature, max_rows: int, unseen: "Unseen | None" = None) -> None:
        self.signature = signature if unseen is None else _any_text(signature)
        self.max_rows = max_rows
        self._unseen = unseen
        self._categories = [
            (number, f"c{number}", frozenset({*column.categories, None}))
            for number, column in enumerate(signature.columns)
            if column.categories
        ]
        self._quick = not any(_NO_FIELD.search(name) for name in _names(signature))
        self._type: Any = _record_type(self.signature, named=self._quick)
        self._decoder = msgspec.json.Decoder(GenericAlias(list, (self._type,)) | self._type)
        self._known = {*signature.names(), signature.target, signature.id_column}
        self.ids = attrgetter("id")
        self.getters = {column.name: attrgetter(f"c{number}") for number, column in enumerate(signature.columns)}

    def read(self, body: bytes) -> list[Struct]:
        """The records of a body: a list of them, or one. Raises BadInput."""
        if not self._quick:
            return self.check(_loose(body))
        try:
            found = self._decoder.decode(body)
        except msgspec.ValidationError:
            return self.check(_loose(body))
        except NO_JSON as error:
            raise not_json(error) from error
        records = found if isinstance(found, list) else [found]
        self._not_too_many(records)
        if self._unseen is not None:
            self._count_unseen(records, self._unseen)
        return records

    def _count_unseen(self, records: list[Struct], unseen: "Unseen") -> None:
        for number, name, categories in self._categories:
            if count := sum(getattr(record, name) not in categories for record in records):
                unseen(number, count)

    def check(self, found: Any) -> list[Struct]:
        """As `read`, for values that are already out of their JSON."""
        rows = [found] if isinstance(found, dict) else found
        if not isinstance(rows, list):
            raise BadInput(422, Problem(("body",), f"must be a list of records, or one record, not {_kind(found)}"))
        self._not_too_many(rows)
        problems: list[Problem] = []
        records = []
        for number, row in enumerate(rows):
            records.append(self._record(number, row, problems))
            if len(problems) >= MOST_PROBLEMS:
                break
        if problems:
            raise BadInput(422, *problems[:MOST_PROBLEMS])
        if self._unseen is not None:
            self._count_unseen(records, self._unseen)
        return records

    def _not_too_many(self, records: list[Any]) -> None:
        if len(records) > self.max_rows:
            msg = f"has {len(records)} records; at most {self.max_rows} are taken in one request"
            raise BadInput(413, Problem(("body",), msg))

    def _record(self, number: int, row: Any, problems: list[Problem]) -> Struct:
        if not isinstance(row, dict):
            problems.append(Problem(("body", number), f"must be a record (an object), not {_kind(row)}"))
            return Struct()
        fields: dict[str, Any] = {}
        for place, column in enumerate(self.signature.columns):
            value = row.get(column.name, _MISSING)
            try:
                fields[f"c{place}"] = _value(column, value)
            except ValueError as error:
                problems.append(Problem(("body", number, column.name), str(error)))
        if self.signature.id_column is not None:
            fields["id"] = self._id(number, row.get(self.signature.id_column), problems)
        problems += [
            Problem(("body", number, str(name)), self._unknown(str(name))) for name in row if name not in self._known
        ]
        return Struct() if problems else cast("Struct", self._type(**fields))

    def _id(self, number: int, value: Any, problems: list[Problem]) -> Id:
        if value is None or isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
            return value
        msg = f"must be a text or a whole number, not {_kind(value)}"
        problems.append(Problem(("body", number, str(self.signature.id_column)), msg))
        return None

    def _unknown(self, name: str) -> str:
        near = difflib.get_close_matches(name, self.signature.names(), n=1)
        return "is no column of this model" + (f"; is {near[0]!r} meant?" if near else "")


def _names(signature: Signature) -> list[str]:
    return [*signature.names(), signature.target, *([signature.id_column] if signature.id_column else [])]


def _record_type(signature: Signature, *, named: bool) -> Any:
    """`named`: its fields are also those of the JSON."""

    def field(name: str, **more: Any) -> Any:
        return msgspec.field(name=name if named else None, **more)

    fields: list[Any] = [
        (
            f"c{number}",
            _annotation(column),
            field(column.name, **({"default": None} if column.nullable else {})),
        )
        for number, column in enumerate(signature.columns)
    ]
    if signature.id_column is not None:
        fields.append(("id", Id, field(signature.id_column, default=None)))
    else:
        fields.append(("id", None, field(" no id", default=None)))
    fields.append(("target", Any, field(signature.target, default=None)))
    return msgspec.defstruct("Record", fields, kw_only=True, forbid_unknown_fields=True, gc=False)


def _any_text(signature: Signature) -> Signature:
    return replace(signature, columns=tuple(replace(column, categories=()) for column in signature.columns))


def _annotation(column: Column) -> Any:
    kind: Any = {
        "number": float,
        "whole": Annotated[int, Meta(ge=_INT64[0], le=_INT64[1])],
        "text": Literal[column.categories] if column.categories else str,
        "boolean": bool,
    }[column.kind]
    return kind | None if column.nullable else kind


def _value(column: Column, value: Any) -> Any:
    """The value as this column holds it. ValueError, in words, where it can't."""
    if value is None or value is _MISSING:
        if column.nullable:
            return None
        told = "is missing" if value is _MISSING else "must not be null"
        raise ValueError(f"{told}; {column.wants()} is needed, since the training data had no null here")
    if column.kind == "boolean" and isinstance(value, bool):
        return value
    if column.kind == "text" and isinstance(value, str):
        if column.categories and value not in column.categories:
            raise ValueError(f"must be {column.wants()}, not {_short(value)}: the training data had no such category")
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        if column.kind == "number":
            return _float(value)
        if column.kind == "whole":
            return _whole(value)
    raise ValueError(f"must be {column.wants()}, not {_kind(value)}")


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        raise ValueError("is out of the range of a 64-bit float") from None


def _whole(value: float) -> int:
    if value != value // 1:
        raise ValueError(f"must be a whole number, as all were in the training data, not {value}")
    if not _INT64[0] <= value <= _INT64[1]:
        raise ValueError("is out of the range of a 64-bit integer")
    return int(value)


def _loose(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except NO_JSON as error:
        raise not_json(error) from error


def not_json(error: Exception) -> BadInput:
    """As one of `NO_JSON` tells it."""
    said = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
    return BadInput(400, Problem(("body",), f"is not valid JSON: {said}"))


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    kinds = {bool: "a boolean", str: "a text", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return kinds.get(type(value), type(value).__name__)


def _short(value: str) -> str:
    return f'"{value}"' if len(value) <= 40 else f'"{value[:40]}..."'
