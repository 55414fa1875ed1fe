"""Records out of files: JSON as it is, CSV by the signature (an empty cell is null, a number column is read as numbers)."""

import csv
import sys
from typing import Any

import msgspec

from pellucid.model.errors import UsageError, os_words
from pellucid.serve.records import NO_JSON
from pellucid.serve.signature import Column, Signature


def read_json(path: str) -> Any:
    """The JSON of a file, or of stdin for "-". UsageError where it can't be read or is none."""
    try:
        if path == "-":
            content = sys.stdin.buffer.read()
        else:
            with open(path, "rb") as file:
                content = file.read()
        return msgspec.json.decode(content)
    except OSError as error:
        raise _unreadable(path, error) from error
    except NO_JSON as error:
        raise UsageError(
            tried=f"read {path} as JSON",
            said=str(error),
            remedy="give a .json file with a list of records, or a .csv file",
        ) from error


def read_csv(path: str, signature: Signature) -> list[dict[str, Any]]:
    """One record a row. What is no number in a number column stays a text, so that the reader names it by row and column."""
    columns = {column.name: column for column in signature.columns}
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file, restkey=""))
    except OSError as error:
        raise _unreadable(path, error) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(
            tried=f"read {path} as CSV", said=str(error), remedy="save it as UTF-8 with a header line"
        ) from error
    return [{name: _cell(columns.get(name), cell) for name, cell in row.items()} for row in rows]


def _cell(column: Column | None, cell: Any) -> Any:
    if cell in {"", None}:
        return None
    if column is None or column.kind == "text":
        return cell
    if column.kind == "boolean":
        return {"true": True, "false": False}.get(cell.lower(), cell)
    try:
        return float(cell)
    except ValueError:
        return cell


def _unreadable(path: str, error: OSError) -> UsageError:
    return UsageError(
        tried=f"read {path}", said=os_words(error), remedy="name a file that exists and that you may read"
    )
