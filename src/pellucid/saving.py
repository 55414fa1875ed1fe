"""Profiles to and from files, for programs: `pellucid.save` and `pellucid.load`. The command line has the same formats."""

import os
import tempfile

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
    content = profiles.encode(profile, name)
    passing = None
    try:
        descriptor, passing = tempfile.mkstemp(dir=os.path.dirname(path) or ".", prefix=".pellucid-")
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        os.chmod(passing, 0o666 & ~_umask())
        if force:
            os.replace(passing, path)
            passing = None
        else:
            os.link(passing, path)  # fails where there is something, which a rename would replace
    except FileExistsError:
        raise UsageError(
            tried=f"write {path}", said="it is there already", remedy="force=True  (replaces it)"
        ) from None
    except OSError as error:
        raise UsageError(
            tried=f"write {path}", said=os_words(error), remedy="a directory that can be written to"
        ) from None
    finally:
        if passing is not None:
            os.unlink(passing)


def load(path: str | os.PathLike[str]) -> Profile:
    """The profile in a file that `save` wrote as .pellucid or .json. Raises UsageError, with what is wrong with it."""
    path = os.fspath(path)
    try:
        with open(path, "rb") as file:
            content = file.read(MOST + 1)
    except OSError as error:
        raise UsageError(tried=f"read the profile {path}", said=os_words(error), remedy=f"ls -l {path}") from None
    if len(content) > MOST:
        raise UsageError(
            tried=f"read the profile {path}",
            said=f"it has more than {MOST >> 20} MiB, which no profile has",
            remedy=f"ls -l {path}",
        )
    return profiles.decode(content, path)


def _umask() -> int:
    """Linux tells it without changing it since 4.7 (proc_pid_status(5)): os.umask would, for all threads."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as status:
        told = next((line for line in status if line.startswith("Umask:")), "Umask: 0022")
    return int(told.split()[1], 8)
