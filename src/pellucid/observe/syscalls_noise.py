"""Failed calls that are how things are done, not how they went wrong: folded under one line, and told with `--all`.

Searching is trying names until one exists, and asking a thing whether it is a terminal is a call that fails where it is none.
A failure is noise only by what was asked for, how, and by whom: `openat` of a missing locale file is, of a missing data file is
not, whatever the program does about it.
"""

import os
import re
from collections.abc import Sequence
from functools import cache

from pellucid.model import Frame

_MISSING = ("ENOENT", "ENOTDIR")
_LOOKING = "open openat openat2 stat lstat newfstatat statx access faccessat faccessat2 readlink readlinkat"
_LOOKS = frozenset(_LOOKING.split())
_IMPORTERS = ("<frozen importlib", "<frozen zipimport", "importlib/_bootstrap", "<frozen getpath")
_NEAR = 6  # frames of the import machinery lie above its caller
_STARTS = frozenset(
    {"pyvenv.cfg", "pybuilddir.txt", "usercustomize.py", "sitecustomize.py", "ld.so.preload", "Setup.local"}
)
_LIBRARY_ZIP = re.compile(r"python3\d+\.zip")
"""In every sys.path, and hardly ever there (Modules/getpath.py): whoever goes through the path asks for it."""
_JOURNALS = ("-journal", "-wal")
"""What SQLite looks for beside a database each time that it takes a lock (src/pager.c, hasHotJournal; src/wal.c)."""
_HARDWARE = frozenset({"tls", "haswell", "avx512_1", "x86_64", "xeon_phi", "glibc-hwcaps"})

_BY_ERROR = {
    "EAGAIN": "nothing there yet",
    "EINPROGRESS": "connecting in the background",
    "ERESTARTSYS": "interrupted and made again",
    "ERESTARTNOINTR": "interrupted and made again",
    "ERESTARTNOHAND": "interrupted and made again",
    "ERESTART_RESTARTBLOCK": "interrupted and made again",
}
_BY_CALL = {
    ("ioctl", "ENOTTY"): "is it a terminal",
    ("ioctl", "EINVAL"): "is it a terminal",
    ("lseek", "ESPIPE"): "can it be positioned",
    ("fadvise64", "ESPIPE"): "can it be positioned",
    ("readlink", "EINVAL"): "is it a link",
    ("readlinkat", "EINVAL"): "is it a link",
    ("futex", "ETIMEDOUT"): "wait with a timeout",
    ("futex", "EINTR"): "interrupted and made again",
    ("rt_sigtimedwait", "EAGAIN"): "wait with a timeout",
    ("wait4", "ECHILD"): "no child is left",
    ("waitid", "ECHILD"): "no child is left",
    ("mkdir", "EEXIST"): "the directory exists already",
    ("mkdirat", "EEXIST"): "the directory exists already",
    ("epoll_ctl", "EEXIST"): "is it watched already",
    (
        "epoll_ctl",
        "ENOENT",
    ): "is it watched at all",  # libuv asks it of each descriptor that it closes (src/unix/linux.c, uv__platform_invalidate_fd)
    ("epoll_ctl", "EPERM"): "can it be watched",
    ("getxattr", "ENODATA"): "are there attributes",
    ("lgetxattr", "ENODATA"): "are there attributes",
    ("fgetxattr", "ENODATA"): "are there attributes",
    ("listxattr", "EOPNOTSUPP"): "are there attributes",
    ("getxattr", "EOPNOTSUPP"): "are there attributes",
    ("lgetxattr", "EOPNOTSUPP"): "are there attributes",
    ("prctl", "EINVAL"): "does this kernel have it",
    ("getsockopt", "ENOPROTOOPT"): "does this kernel have it",
}


def is_usual(name: str, error: str) -> bool:
    """Noise whatever it was asked of: nobody has to find out what that was."""
    return (name, error) in _BY_CALL or error in _BY_ERROR


def noise(name: str, error: str, path: str | None, stack: Sequence[Frame]) -> str:
    """Why this failure is no trouble, in a few words; "" where it may be."""
    known = _BY_CALL.get((name, error)) or _BY_ERROR.get(error)
    if known:
        return known
    if error == "ENOSYS":
        return "does this kernel have it"
    if path is None:
        return ""
    if name == "connect":
        return "name service cache" if path.endswith("/nscd/socket") else ""
    if error not in _MISSING:
        return ""
    if name in ("execve", "execveat"):
        return "search of PATH" if path.startswith("/") else ""
    return _search(path, stack) if name in _LOOKS or name == "statfs" else ""


def _search(path: str, stack: Sequence[Frame]) -> str:
    """A name that was looked for and is not there: of a module, a locale, a library?"""
    base = path.rpartition("/")[2]
    if any(frame.file.startswith(_IMPORTERS) for frame in stack[:_NEAR]) or _LIBRARY_ZIP.fullmatch(base):
        return "import search"
    if path.startswith(("/usr/share/locale", "/usr/lib/locale", "/usr/local/share/locale")) or base.endswith(".mo"):
        return "locale"
    if base.endswith(".so") or ".so." in base or (not stack and _hardware_library(path)):
        return "library search"
    if base in _STARTS or base.endswith("._pth") or (not stack and _python_start(path)):
        return "start of an interpreter"
    if path.rpartition("/")[0] in _in_path():
        return "search of PATH"
    if path.endswith(_JOURNALS):
        return "does a database have a journal"
    if path in ("/etc/selinux/config", "/sys/fs/selinux", "/selinux", "/etc/gai.conf", "/etc/nsswitch.conf"):
        return "optional system file"
    return ""


def _hardware_library(path: str) -> bool:
    """The loader of glibc tries the directories for this kind of CPU below each one that may have the library (elf/dl-load.c)."""
    return not _HARDWARE.isdisjoint(path.split("/")[-4:])


@cache
def _in_path() -> frozenset[str]:
    """The directories of PATH here, which a launched command inherits."""
    return frozenset(os.environ.get("PATH", "").split(":"))


def _python_start(path: str) -> bool:
    """What CPython looks for before it can run any Python (Modules/getpath.py): no stack is there to tell."""
    return "/lib/python3" in path or "/lib64/python3" in path
