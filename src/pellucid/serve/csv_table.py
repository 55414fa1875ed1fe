"""A CSV file as a table, or in one sentence what is wrong with it: its encoding, its separator, its header, or the line that has too few fields.

pandas fills a short line up with nulls and renames the second of two equal columns (pandas/io/parsers): a model would be trained on that.
"""

import codecs
import csv
from collections.abc import Iterable
from shlex import quote
from typing import TYPE_CHECKING

from pellucid.model.errors import UsageError, os_words

if TYPE_CHECKING:
    import pandas as pd

_OTHER_SEPARATORS = ";\t|"
_WIDE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_MOST_FIELD = 1 << 27  # characters


def read(path: str) -> "pd.DataFrame":
    """All of it. UsageError."""
    _check(path)
    import pandas as pd

    try:
        return pd.read_csv(path, encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise _wrong(path, str(error).splitlines()[0], "give a CSV file with a header line") from error


def _check(path: str) -> None:
    try:
        with open(path, "rb") as raw:
            head = raw.read(4096)
        if head.startswith(_WIDE):
            raise _wrong(path, "it is UTF-16", f"iconv -f UTF-16 -t UTF-8 {quote(path)} > utf8.csv")
        if b"\0" in head:
            raise _wrong(path, "it is no text: it has zero bytes", "give a CSV file with a header line")
        with open(path, encoding="utf-8-sig", newline="") as file:
            _check_lines(path, file)
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise _wrong(
            path,
            f"it is not UTF-8: byte 0x{byte:02x} in {_line_of(path)}",
            f"iconv -f ISO-8859-1 -t UTF-8 {quote(path)} > utf8.csv  (or from the encoding that it has)",
        ) from error
    except OSError as error:
        raise UsageError(tried=f"read {path}", said=os_words(error), remedy="ls -l  (is it the right path?)") from error


def _check_lines(path: str, file: Iterable[str]) -> None:
    csv.field_size_limit(_MOST_FIELD)
    lines = csv.reader(file, strict=True)
    try:
        header = next(lines, [])
        if not header:
            raise _wrong(path, "it is empty", "give a CSV file with a header line")
        for separator in _OTHER_SEPARATORS:
            if len(header) == 1 and separator in header[0]:
                raise _wrong(
                    path,
                    f"its fields are separated by {separator!r}",
                    f"separate them by commas: tr '{_shown(separator)}' , < {quote(path)}",
                )
        twice = sorted({name for name in header if name and header.count(name) > 1})
        if twice:
            raise _wrong(
                path, f"more than one column is called {', '.join(map(repr, twice))}", "give each a name of its own"
            )
        for fields in lines:
            if fields and len(fields) != len(header):
                said = f"line {lines.line_num} has {len(fields)} fields, and the header {len(header)}"
                raise _wrong(path, said, f"sed -n {lines.line_num}p {quote(path)}  (shows it)")
    except csv.Error as error:
        raise _wrong(
            path, f"line {lines.line_num}: {error}", f"sed -n {lines.line_num}p {quote(path)}  (shows it)"
        ) from error


def _shown(separator: str) -> str:
    return "\\t" if separator == "\t" else separator


def _line_of(path: str) -> str:
    """The first line that is not UTF-8."""
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return f"line {number}"
    return "its last line"


def _wrong(path: str, said: str, remedy: str) -> UsageError:
    return UsageError(tried=f"read {path} as CSV", said=said, remedy=remedy)
