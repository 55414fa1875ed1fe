"""A file that is there as a whole or not at all: begun before the work, so that a bad name costs none, and named only when it is complete."""

import os
import secrets
from contextlib import suppress
from errno import EEXIST
from types import TracebackType
from typing import Self

from pellucid.model.errors import UsageError, os_words


class Saved:
    """The file `path`; a context manager. Without `force` a file that is there stays. Raises UsageError, now and at `write`."""

    def __init__(self, path: str, *, force: bool) -> None:
        self.path = path
        self._force = force
        self._passing = ""
        if os.path.exists(path) and not os.path.isfile(path):
            if os.path.isdir(path):
                raise self._refused("it is a directory", "another -o")
            return  # a pipe or device is written to as it is
        if os.path.lexists(path) and not force:
            raise self._refused("it is there already", f"-o {path} --force  (overwrites it)")
        folder, name = os.path.split(path)
        self._passing = os.path.join(folder, f".{name}.{secrets.token_hex(4)}")
        try:
            os.close(os.open(self._passing, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))
        except OSError as error:
            self._passing = ""
            raise self._refused(os_words(error), "-o FILE, in a directory of yours") from None

    def _refused(self, said: str, remedy: str) -> UsageError:
        return UsageError(tried=f"write {self.path}", said=said, remedy=remedy)

    def write(self, content: bytes) -> None:
        """All of it; after an error nothing is left behind."""
        try:
            with open(self._passing or self.path, "wb") as file:
                file.write(content)
                file.flush()
                if self._passing:
                    os.fsync(file.fileno())
            self._name()
        except OSError as error:
            if error.errno == EEXIST:
                raise self._refused("it was made meanwhile", f"-o {self.path} --force  (overwrites it)") from None
            raise self._refused(os_words(error), "-o FILE, on another file system") from None
        finally:
            self.close()

    def _name(self) -> None:
        if not self._passing:
            return
        if self._force:
            os.replace(self._passing, self.path)
        else:
            os.link(self._passing, self.path)  # fails where something has this name by now, as rename does not

    def close(self) -> None:
        if self._passing:
            with suppress(FileNotFoundError):
                os.unlink(self._passing)
            self._passing = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
