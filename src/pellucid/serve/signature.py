"""What a model takes: its columns, with types, nulls and categories as they were in the training data.

A column's type comes from here and never from the records of one request: let pandas guess, and a null in the same request turns "0" into
"0.0", the map of categories gives NaN, and the model answers 200 with another prediction.
"""

from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from pellucid.model.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

Kind = Literal["number", "whole", "text", "boolean"]

MOST_CATEGORIES = 50
"""A text column with more distinct values in the training data takes any text."""


class Column(Struct, frozen=True):
    """One column. `categories` are sorted; empty means any text. A `whole` column is never nullable: pandas has no such integers."""

    name: str
    kind: Kind
    nullable: bool
    categories: tuple[str, ...] = ()

    def wants(self) -> str:
        """`a number`, `"Female", "Male" or null`: what a value of this column may be, in words."""
        if self.categories:
            quoted = [f'"{category}"' for category in self.categories]
            return _either([*quoted, *(["null"] if self.nullable else [])])
        noun = {"number": "a number", "whole": "a whole number", "text": "a text", "boolean": "true or false"}
        return noun[self.kind] + (" or null" if self.nullable else "")


def _either(words: list[str]) -> str:
    return " or ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else words[0]


class Signature(Struct, frozen=True):
    """`id_column` comes back with each prediction; `target` may stand in a record and is ignored."""

    columns: tuple[Column, ...]
    id_column: str | None
    target: str

    def names(self) -> list[str]:
        return [column.name for column in self.columns]


def infer(data: "pd.DataFrame", columns: list[str], *, id_column: str | None, target: str) -> Signature:
    """The signature of training data. UsageError where a named column is missing or holds values of a kind that no JSON record has."""
    missing = [name for name in [*columns, target, *([id_column] if id_column else [])] if name not in data.columns]
    if missing:
        raise UsageError(
            tried="read the training data",
            said=f"it has no column {missing[0]!r}, only {', '.join(map(repr, data.columns))}",
            remedy="name columns that the data has",
        )
    return Signature(
        columns=tuple(_column(name, data[name]) for name in columns),
        id_column=id_column,
        target=target,
    )


def _column(name: str, values: "pd.Series") -> Column:
    import pandas as pd

    nullable = bool(values.isna().any())
    if pd.api.types.is_bool_dtype(values):
        return Column(name, "boolean", nullable)
    if pd.api.types.is_integer_dtype(values):
        return Column(name, "number" if nullable else "whole", nullable)
    if pd.api.types.is_float_dtype(values):
        return Column(name, "number", nullable)
    distinct = sorted(set(values.dropna()), key=str)
    if not all(isinstance(value, str) for value in distinct):
        raise UsageError(
            tried=f"read column {name!r} of the training data",
            said=f"it holds {type(next(v for v in distinct if not isinstance(v, str))).__name__} values",
            remedy="make it a column of numbers, texts or booleans",
        )
    return Column(name, "text", nullable, tuple(distinct) if len(distinct) <= MOST_CATEGORIES else ())
