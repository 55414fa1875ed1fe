"""Who has this file, directory, pipe, socket or port: one row for each descriptor, working directory, executable or mapping.

PID   COMMAND            FD   WHAT
42    python app.py      5    /srv/app.log, O_WRONLY
42    python app.py      cwd  /srv
51    nginx: worker      7    tcp 0.0.0.0:8000, LISTEN
"""

import os
import time
from collections.abc import Iterable
from errno import ENOENT, ENOTDIR
from stat import S_ISSOCK

from msgspec.structs import replace

from pellucid.kernel import bounded, fds, openers, procfs
from pellucid.kernel.bounded import Answer
from pellucid.kernel.openers import Opened, Openers
from pellucid.model import Gap, OpenFile, Socket, redact
from pellucid.model.errors import LookError, UsageError, os_words
from pellucid.model.report import FilesReport
from pellucid.observe.files import socket_words, without_descriptor
from pellucid.observe.locks import with_locks

MAX_ROWS = 1 << 14
_COMMAND = 60


def of_path(path: str) -> FilesReport:
    """Everything that has the file at `path` open, under whatever name. UsageError where there is none, or it does not answer.

    A name that is no longer there still finds those who hold the deleted file that had it.
    """
    tried = f"find out who holds {path}"
    answer = bounded.ask([path]).get(path)
    if answer is None:
        said = f"its file system did not answer within {bounded.LIMIT_S:g} s: a server that is gone"
        raise UsageError(tried=tried, said=said, remedy="pellucid ps disk-sleep  (processes that wait for it)")
    if answer.errno in (ENOENT, ENOTDIR):
        return _of_former(path, tried)
    if answer.errno:
        said = os_words(OSError(answer.errno, os.strerror(answer.errno)))
        raise UsageError(tried=tried, said=said, remedy=f"sudo pellucid files {path}")
    if S_ISSOCK(answer.mode) and answer.name.startswith("/"):
        return _of_unix(answer)
    return _report(openers.of(answer), _what(answer))


def _what(answer: Answer) -> tuple[int, str]:
    return answer.inode, f"{os.major(answer.device)}:{os.minor(answer.device)}"


def _of_former(path: str, tried: str) -> FilesReport:
    folder, name = os.path.split(os.path.abspath(path))
    there = bounded.ask([folder]).get(folder)
    known = folder if there is None or there.errno else there.name
    found = openers.once_named(f"{known.rstrip('/')}/{name}")
    if not found.found:
        said = "there is no such file, and no process that is seen from here holds a deleted one of this name"
        raise UsageError(tried=tried, said=said, remedy="pellucid files --deleted  (lists those that are held)")
    return _report(found, (None, None))


def _of_unix(answer: Answer) -> FilesReport:
    """The name in the file system is not the socket: sock_diag knows the sockets that are bound to it."""
    from pellucid.kernel import sockdiag

    found, gaps = sockdiag.unix()
    named = {one.inode for one in found if one.name.rstrip(b"\0") and _same_name(one.name, answer)}
    return _of_sockets(named, list(gaps))


def _same_name(name: bytes, answer: Answer) -> bool:
    """By another way to the same folder too. A name that begins with a NUL is in no file system (unix(7), abstract)."""
    bound = os.fsdecode(name.rstrip(b"\0"))
    if "\0" in bound or os.path.basename(bound) != os.path.basename(answer.name):
        return False
    return bound == answer.name or os.path.realpath(bound) == answer.name


def of_port(port: int) -> FilesReport:
    """Who holds TCP or UDP port `port` of this network namespace: listening sockets first. No row: nobody, and a gap says why not."""
    from pellucid.kernel import sockdiag

    gaps: list[Gap] = []
    inodes: set[int] = set()
    unheld: list[str] = []
    for family in (sockdiag.INET, sockdiag.INET6):
        for protocol in (sockdiag.TCP, sockdiag.UDP):
            found, missed = sockdiag.inet(family, protocol)
            gaps += missed
            for one in found:
                if one.local_port == port:
                    inodes.add(one.inode)
                    if not one.inode:
                        unheld.append(sockdiag.STATES.get(one.state, "closing"))
    inodes.discard(0)
    if unheld:
        states = ", ".join(f"{unheld.count(state)} in {state}" for state in dict.fromkeys(unheld))
        why = f"{states}: no process holds them any more, or none has accepted them yet"
        gaps.append(Gap(f"holders of {len(unheld)} connections of port {port}", why))
    return _of_sockets(inodes, gaps)


def _of_sockets(inodes: set[int], gaps: list[Gap]) -> FilesReport:
    from pellucid.observe.sockets import sockets

    found, missed = sockets(None, inodes=inodes) if inodes else ((), ())
    held, hidden = fds.holders_and_gaps({f"socket:[{inode}]" for inode in inodes}, "files")
    rows: list[OpenFile] = []
    commands = _Commands()
    for socket in sorted(found, key=lambda one: (one.state != "LISTEN", one.local, one.inode)):
        for pid, fd in held.get(f"socket:[{socket.inode}]", ()):
            file = fds.open_file(pid, fd, "files")
            if isinstance(file, OpenFile):
                rows.append(_row(file, pid, commands, socket))
    return _finished(rows, [*gaps, *missed, *hidden])


def _row(file: OpenFile, pid: int, commands: "_Commands", socket: Socket) -> OpenFile:
    shared = [other for other in socket.pids if other != pid]
    also = f"; held by pid {', '.join(map(str, shared[:4]))} too" if shared and socket.state == "LISTEN" else ""
    said = socket_words(socket) + also
    return replace(file, pid=pid, command=commands.of(pid), detail=said, holders=socket.peer_pids)


def _report(seen: Openers, identity: tuple[int | None, str | None]) -> FilesReport:
    rows: list[OpenFile] = []
    gaps: list[Gap] = list(fds.hidden_gap(seen.hidden, "files"))
    commands = _Commands()
    closed = 0
    for pid, opened in _by_process(seen.found[:MAX_ROWS]):
        with_fd: list[OpenFile] = []
        for one in opened:
            if one.fd is None:
                rows.append(replace(_placed(one, identity), pid=pid, command=commands.of(pid)))
                continue
            file = fds.open_file(pid, one.fd, "files")
            if isinstance(file, Gap):
                closed += 1
            else:
                with_fd.append(replace(file, pid=pid, command=commands.of(pid)))
        locked, missed = with_locks(pid, with_fd)
        rows += locked
        gaps += missed
    if closed:
        gaps.append(Gap(f"{closed} descriptors", "they were closed meanwhile"))
    if seen.unsure:
        where = ", ".join(one.path for one in seen.unsure[:3])
        why = f"their file system did not answer within {bounded.LIMIT_S:g} s"
        gaps.append(Gap(f"whether {len(seen.unsure)} more lead there ({where})", why))
    if len(seen.found) > MAX_ROWS:
        gaps.append(Gap(f"{len(seen.found) - MAX_ROWS} more holders", f"at most {MAX_ROWS} are listed"))
    return _finished(rows, gaps)


def _by_process(found: Iterable[Opened]) -> list[tuple[int, list[Opened]]]:
    by_pid: dict[int, list[Opened]] = {}
    for one in found:
        by_pid.setdefault(one.pid, []).append(one)
    return list(by_pid.items())


def _placed(one: Opened, identity: tuple[int | None, str | None]) -> OpenFile:
    kind, _, span = one.place.partition("/")
    file = without_descriptor("mapped" if span else kind, one.link, *identity)
    return replace(file, address=span)


def _finished(rows: list[OpenFile], gaps: list[Gap]) -> FilesReport:
    return FilesReport(process=None, taken_at=time.time(), gaps=tuple(dict.fromkeys(gaps)), files=tuple(rows))


class _Commands:
    """The command line of each process, read once."""

    def __init__(self) -> None:
        self._known: dict[int, str] = {}

    def of(self, pid: int) -> str:
        if pid not in self._known:
            self._known[pid] = command_of(pid)
        return self._known[pid]


def command_of(pid: int) -> str:
    """Its command line without folders and secrets, shortened; its name where it has none, "" when it has ended."""
    try:
        words = redact.command(procfs.command(pid))
        line = " ".join(word.rpartition("/")[2] or word for word in words) or procfs.stat(pid).name
    except LookError:
        return ""
    return line if len(line) <= _COMMAND else line[: _COMMAND - 3] + "..."
