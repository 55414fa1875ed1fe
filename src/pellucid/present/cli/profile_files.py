"""Which file a profile is to be written to, and in which format: by -o FILE and its suffix, or --format."""

import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING

from pellucid.export.profiles import DIFFERENTIAL, FORMATS, format_of
from pellucid.model.errors import UsageError
from pellucid.saving import Saved

if TYPE_CHECKING:
    from contextlib import AbstractContextManager


class Wanted:
    """`form`: the name of the format, None where no file is wanted. `to_stdout`: it was named without a file. Raises UsageError."""

    def __init__(self, form: str | None, path: str | None, *, differential: bool = False) -> None:
        self.path = None if path == "-" else path
        formats = DIFFERENTIAL if differential else FORMATS
        names = ", ".join(sorted(formats)) or "none yet"
        if form is not None and form not in formats:
            raise UsageError(
                tried=f"write the format {form!r}", said="there is no such format", remedy=f"one of: {names}"
            )
        self.form = form or (format_of(path, formats) if path is not None else None)
        if path is not None and self.form is None:
            suffixes = ", ".join(sorted(suffix for suffix, _ in formats.values()))
            raise UsageError(
                tried=f"write {path}",
                said=f"its name does not say a format; the suffixes are {suffixes or 'none yet'}",
                remedy=f"-o {path} --format F, one of: {names}",
            )
        self.to_stdout = self.form is not None and self.path is None

    def file(self, *, force: bool) -> "AbstractContextManager[Saved | None]":
        """The file, begun now, so that a bad name costs no look. Raises UsageError."""
        return Saved(self.path, force=force) if self.path is not None else nullcontext()

    def write(self, file: Saved | None, content: bytes) -> None:
        """Raises UsageError."""
        if file is not None:
            file.write(content)
        else:
            sys.stdout.buffer.write(content)
            sys.stdout.buffer.flush()
