"""Why pellucid stopped: each error has three lines, and one exit status.

    PellucidError                    tried, said, remedy
    ├── UsageError            2      what was asked can't be done as asked (no match, several matches, a port in use)
    ├── LookError                    + pid, path, errno: looking at a process failed
    │   ├── NoSuchProcess     3      it does not exist, or ended during the look
    │   ├── NotPermitted      4      the kernel refused; the remedy is the one thing that works here
    │   ├── NotUnderstood     5      no runtime that we know, or a version without a layout table
    │   └── Partial           6      a part could be seen, and it was asked to be strict
    │       └── Unanswered           + silence: the process was asked, and does not answer
    └── Interrupted         130      Ctrl-C

The three lines are: what was tried, what the kernel said, and the one thing that will work here.
"""

import os
from typing import TYPE_CHECKING, ClassVar, Self

if TYPE_CHECKING:
    from pellucid.model.silence import Silence


class PellucidError(Exception):
    """The root; `code` is `error.code` in JSON and names the exit status."""

    code: ClassVar[str] = "error"
    exit_status: ClassVar[int] = 1

    def __init__(self, *, tried: str, said: str, remedy: str) -> None:
        super().__init__(tried, said, remedy)
        self.tried = tried
        self.said = said
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.tried}\n{self.said}\n{self.remedy}"

    def as_value(self) -> Self:
        """Itself without the calls that it came through, to be kept: whatever keeps it is among what those calls hold, and so would keep all of them."""
        self.__cause__ = self.__context__ = self.__traceback__ = None
        return self


class UsageError(PellucidError):
    """What was asked can't be done as asked."""

    code = "usage"
    exit_status = 2


class LookError(PellucidError):
    """A look at process `pid` failed; `errno` is the kernel's, 0 where no call failed."""

    def __init__(self, pid: int, *, tried: str, said: str, remedy: str, path: str = "", errno: int = 0) -> None:
        super().__init__(tried=tried, said=said, remedy=remedy)
        self.pid = pid
        self.path = path
        self.errno = errno


class NoSuchProcess(LookError):  # noqa: N818  the name that the exit code table uses
    """The process does not exist, or it ended while it was looked at."""

    code = "no_such_process"
    exit_status = 3

    @classmethod
    def missing(cls, pid: int) -> "NoSuchProcess":
        """There was no process `pid` at the first look."""
        return cls(
            pid,
            tried=f"look at pid {pid}",
            said=f"there is no process with pid {pid}",
            remedy="pellucid ps  (lists the processes that run now)",
        )

    @classmethod
    def ended(cls, pid: int, tried: str) -> "NoSuchProcess":
        """It was there, and ended during `tried`."""
        return cls(
            pid,
            tried=tried,
            said=f"pid {pid} ended during the look",
            remedy="pellucid ps  (lists the processes that run now)",
        )

    @classmethod
    def replaced(cls, pid: int, tried: str) -> "NoSuchProcess":
        """It was there, and is another program since `tried` began: all of its memory is new."""
        return cls(
            pid,
            tried=tried,
            said=f"pid {pid} became another program (execve) during the look",
            remedy=f"pellucid info {pid}  (what it is now)",
        )


class NotPermitted(LookError):  # noqa: N818
    """The kernel refused. Made by `kernel.access`, which finds the one check that says no."""

    code = "not_permitted"
    exit_status = 4


class NotUnderstood(LookError):  # noqa: N818
    """There is no runtime here that we know (`found` is ""), or `found` is one without a layout table: `CPython 3.9.18`."""

    code = "not_understood"
    exit_status = 5

    def __init__(
        self, pid: int, *, tried: str, said: str, remedy: str, path: str = "", errno: int = 0, found: str = ""
    ) -> None:
        super().__init__(pid, tried=tried, said=said, remedy=remedy, path=path, errno=errno)
        self.found = found


class Partial(LookError):  # noqa: N818
    """A part was seen, and the caller had asked for all of it."""

    code = "partial"
    exit_status = 6


class Unanswered(Partial):
    """The process was asked for something and did not answer in time; `silence` says what it did instead, where that could be seen."""

    def __init__(
        self,
        pid: int,
        *,
        tried: str,
        said: str,
        remedy: str,
        path: str = "",
        errno: int = 0,
        silence: "Silence | None" = None,
    ) -> None:
        super().__init__(pid, tried=tried, said=said, remedy=remedy, path=path, errno=errno)
        self.silence = silence


class Interrupted(PellucidError):  # noqa: N818
    """Ctrl-C; what was recorded so far has been saved."""

    code = "interrupted"
    exit_status = 130


def os_words(error: OSError) -> str:
    """`EACCES, Permission denied`: the kernel's answer as a person and a search engine both know it. Of a resolver or TLS its own words, for
    the numbers of `socket.gaierror` and `ssl.SSLError` are none of the kernel's.
    """
    if not error.errno or type(error).__module__ != "builtins":
        return error.strerror or str(error)
    return f"{os_name(error.errno)}, {os.strerror(error.errno)}"


def os_name(number: int | None) -> str:
    """`EACCES` for 13; the number itself where it has no name."""
    import errno  # asked for only when a call failed

    return errno.errorcode.get(number or 0, str(number))
