"""Records as the DataFrame that a pipeline was trained on: the same columns, the same types, whatever the records are.

A text column is built with its type spelt out. Left to guess, pandas 3 makes `str` of most texts (null is NaN there) and `object` of a
batch that is all null (null is None there), and a pipeline may treat the two differently.
"""

from operator import attrgetter
from typing import Any

import numpy as np
import pandas as pd
from msgspec import Struct

from pellucid.serve.records import Reader
from pellucid.serve.signature import Column, Signature

_TEXT: Any = pd.StringDtype(na_value=np.nan) if int(pd.__version__.partition(".")[0]) >= 3 else object


def frame(reader: Reader, records: list[Struct]) -> pd.DataFrame:
    """One row a record, in their order."""
    return pd.DataFrame(
        {column.name: _column(column, records, reader.getters[column.name]) for column in reader.signature.columns},
        copy=False,
    )


def _column(column: Column, records: list[Struct], value: "attrgetter[Any]") -> Any:
    values = list(map(value, records))
    if column.kind == "number":
        return np.array(values, dtype=np.float64)  # None becomes NaN
    if column.kind == "whole":
        return np.array(values, dtype=np.int64)
    if column.kind == "boolean" and not column.nullable:
        return np.array(values, dtype=np.bool_)
    if column.kind == "text" and _TEXT is not object:
        return pd.array(values, dtype=_TEXT)
    objects = np.empty(len(values), dtype=object)
    objects[:] = values
    return objects


def rows(signature: Signature, data: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a table as JSON records of the signature, with their ids: NaN becomes null."""
    names = [*([signature.id_column] if signature.id_column else []), *signature.names()]
    columns = [[None if pd.isna(value) else value for value in data[name].tolist()] for name in names]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
