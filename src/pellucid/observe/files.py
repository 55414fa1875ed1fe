"""What a process has open, and who is at the other end.

    3 socket  tcp 127.0.0.1:40312 → 127.0.0.1:8000, ESTABLISHED      (pid 42)
    4 pipe    pipe:[815], read end                                   (pid 51)
    5 file    /var/log/app.log, deleted

Beside the descriptors: the working directory, the root, the executable, and files that were deleted and are still mapped (a
library that an update has replaced is the usual one).
"""

import os
import time

from msgspec.structs import replace

from pellucid.kernel import fds, maps, procfs
from pellucid.model import Gap, OpenFile, Socket
from pellucid.model.errors import LookError, NoSuchProcess, os_words
from pellucid.model.report import FilesReport
from pellucid.observe.locks import with_locks

MAX_MAPPED = 256
_DELETED = " (deleted)"
NOT_FILES = ("/dev/zero", "/memfd:", "/SYSV", "/[aio]")
"""What the kernel names so without there being a file."""

_Holders = dict[str, tuple[tuple[int, int], ...]]


def files(pid: int) -> FilesReport:
    """Descriptors by number, after what has none. Raises NoSuchProcess, NotPermitted, and NotUnderstood for a zombie."""
    process = procfs.process(pid)
    if process.state == "zombie":
        from pellucid.kernel import access

        raise access.no_memory(process)
    opened, gaps = fds.open_files(pid, "files")
    placed, unplaced = _places(pid)
    mapped, unmapped = _mapped(pid)
    opened, unpaired = _with_ends(pid, opened)
    opened, unknown = with_sockets(pid, opened)
    opened, unlocked = with_locks(pid, opened)
    return FilesReport(
        process=process,
        taken_at=time.time(),
        gaps=(*gaps, *unplaced, *unmapped, *unpaired, *unknown, *unlocked),
        files=(*placed, *mapped, *opened),
    )


def _places(pid: int) -> tuple[list[OpenFile], list[Gap]]:
    found: list[OpenFile] = []
    gaps: list[Gap] = []
    for kind, what in (("cwd", "working directory"), ("root", "root directory"), ("exe", "executable")):
        try:
            path = os.readlink(f"/proc/{pid}/{kind}")
        except OSError as error:
            if not procfs.gone(error):
                raise procfs.failed(pid, f"read the {what} of pid {pid}", error, "files") from error
            gaps.append(Gap(f"the {what} of pid {pid}", "it has none: it is a thread of the kernel, or ends just now"))
            continue
        found.append(without_descriptor(kind, path))
    return found, gaps


def without_descriptor(kind: str, path: str, inode: int | None = None, device: str | None = None) -> OpenFile:
    """A file that is held otherwise than by a descriptor; `path` as the kernel links to it, ` (deleted)` included."""
    name = path.removesuffix(_DELETED)
    return OpenFile(
        fd=None, kind=kind, path=name, inode=inode, device=device, deleted=path != name, flags="", offset=None
    )


def _mapped(pid: int) -> tuple[list[OpenFile], list[Gap]]:
    """Deleted files that are mapped, each once."""
    found: dict[tuple[str, int], OpenFile] = {}
    for one in maps.read(pid, "files"):
        if one.deleted and one.of_file and not one.path.startswith(NOT_FILES):
            key = (one.device, one.inode)
            row = without_descriptor("mapped", one.path + _DELETED, one.inode, one.device)
            found.setdefault(key, replace(row, address=f"{one.start:x}-{one.end:x}"))
    shown = list(found.values())[:MAX_MAPPED]
    left = len(found) - len(shown)
    gaps = (
        [Gap(f"{left} of {len(found)} deleted files that are mapped", f"at most {MAX_MAPPED} are listed")]
        if left
        else []
    )
    return shown, gaps


def _with_ends(pid: int, opened: tuple[OpenFile, ...]) -> tuple[tuple[OpenFile, ...], tuple[Gap, ...]]:
    """Pipes with the processes that hold the other end: one pass over the descriptors of all processes, if there is a pipe."""
    targets = {_target(file) for file in opened if file.kind in ("pipe", "fifo")}
    if not targets:
        return opened, ()
    held, gaps = fds.holders_and_gaps(targets, "files")
    reads = fds.Ends()
    return tuple(_with_end(pid, file, held, reads, not gaps) for file in opened), gaps


def _target(file: OpenFile) -> str:
    return file.path + (_DELETED if file.deleted else "")


def _with_end(pid: int, file: OpenFile, held: _Holders, ends: fds.Ends, complete: bool) -> OpenFile:
    if file.kind not in ("pipe", "fifo") or file.fd is None:
        return file
    mine = ends.of(pid, file.fd)
    others = [(holder, fd) for holder, fd in held[_target(file)] if (holder, fd) != (pid, file.fd)]
    pids = tuple(sorted({holder for holder, fd in others if ends.of(holder, fd) - mine}))
    if pids or not complete:
        return replace(file, holders=pids)
    alone = "nobody holds the other end"
    return replace(file, detail=f"{file.detail}, {alone}" if file.detail else alone)


def with_sockets(pid: int, opened: tuple[OpenFile, ...]) -> tuple[tuple[OpenFile, ...], tuple[Gap, ...]]:
    """The same descriptors, each socket with its two ends and state in words."""
    if not any(file.kind == "socket" for file in opened):
        return opened, ()
    from pellucid.observe.sockets import sockets  # sock_diag is not needed for a process without sockets

    try:
        found, gaps = sockets(pid)
    except NoSuchProcess:
        raise
    except LookError as error:
        return opened, (Gap(f"what the sockets of pid {pid} are connected to", error.said, error.remedy),)
    except OSError as error:
        return opened, (Gap(f"what the sockets of pid {pid} are connected to", os_words(error)),)
    by_fd = {socket.fd: socket for socket in found}
    return tuple(_with_socket(file, by_fd.get(file.fd)) for file in opened), gaps


def _with_socket(file: OpenFile, socket: Socket | None) -> OpenFile:
    if socket is None or file.kind != "socket":
        return file
    return replace(file, detail=socket_words(socket), holders=socket.peer_pids)


def socket_words(socket: Socket) -> str:
    """`tcp 127.0.0.1:40312 → 127.0.0.1:8000, ESTABLISHED`, `unix /run/app.sock, LISTEN`."""
    where = f"{socket.local} → {socket.remote}" if socket.remote else socket.local
    state = f", {socket.state}" if socket.state else ""
    return f"{socket.proto} {where}".rstrip() + state
