"""Profiles to and from files: `pellucid.save` and `pellucid.load` for programs, and `Saved`, a file that is written whole or not at all."""

import os
import secrets
from contextlib import suppress
from errno import EEXIST
from types import TracebackType
from typing import Self

from pellucid.export import profiles
from pellucid.export.archive import MOST
from pellucid.model.errors import UsageError, os_words
from pellucid.model.profile import Profile


def save(profile: Profile, path: str | os.PathLike[str], *, force: bool = False) -> None:
    """Write `profile` in the format of the suffix: .html, .pellucid, .speedscope.json, .pb.gz, ... (`pellucid.export.profiles.FORMATS`).

    Raises UsageError: an unknown suffix, a file that is there already (unless `force`), a file that can't be written. A file that can't
    be written whole is not left behind, and one that was there stays as it was.
    """
    path = os.fspath(path)
    name = profiles.format_of(path)
    if name is None:
        suffixes = ", ".join(suffix for suffix, _ in profiles.FORMATS.values())
        raise UsageError(tried=f"write {path}", said="its suffix names no format", remedy=f"one of {suffixes}")
    with Saved(path, force=force, forcing="force=True  (overwrites it)") as file:
        file.write(profiles.encode(profile, name))


def load(path: str | os.PathLike[str]) -> Profile:
    """The profile in a file that was written as .pellucid or .json. Raises UsageError, with what is wrong with it."""
    path = os.fspath(path)
    remedy = "pellucid profile PID -o FILE.pellucid  (makes one)"
    try:
        with open(path, "rb") as file:
            content = file.read(MOST + 1)
    except OSError as error:
        raise UsageError(tried=f"read the profile {path}", said=os_words(error), remedy=remedy) from None
    if len(content) > MOST:
        said = f"it has more than {MOST >> 20} MiB, which no profile has"
        raise UsageError(tried=f"read the profile {path}", said=said, remedy=remedy)
    return profiles.decode(content, path)


class Saved:
    """The file `path`; a context manager. Without `force` a file that is there stays. Raises UsageError, now and at `write`.

    It is there as a whole or not at all: begun before the work, so that a bad name costs none, and named only when it is complete.
    `forcing` is what the error says to do about a file that is there.
    """

    def __init__(self, path: str, *, force: bool, forcing: str = "") -> None:
        self.path = path
        self._forcing = forcing or f"-o {path} --force  (overwrites it)"
        self._force = force
        self._passing = ""
        if os.path.exists(path) and not os.path.isfile(path):
            if os.path.isdir(path):
                raise self._refused("it is a directory", "another -o")
            return  # a pipe or device is written to as it is
        if os.path.lexists(path) and not force:
            raise self._refused("it is there already", self._forcing)
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
                raise self._refused("it was made meanwhile", self._forcing) from None
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
