"""Deleted files that are still held: they take their room on the disk until the last holder closes them or ends.

SIZE      PID  COMMAND         FD  WHAT
4.1 GiB   42   python app.py   5   /var/log/app.log
"""

import time

from msgspec.structs import replace

from pellucid.kernel import fds, maps, openers, procfs
from pellucid.kernel.openers import DELETED
from pellucid.model import Gap, OpenFile
from pellucid.model.errors import LookError, NoSuchProcess
from pellucid.model.report import FilesReport
from pellucid.observe.files import NOT_FILES, without_descriptor
from pellucid.observe.holders import command_of

_MARK = b" (deleted)\n"
_MAX_MAPS = 1 << 26


def deleted(pid: int | None = None) -> FilesReport:
    """Deleted files open or mapped, largest first, of `pid` or of all processes. NoSuchProcess, NotPermitted for a named one."""
    process = procfs.process(pid) if pid is not None else None
    pids = procfs.pids() if pid is None else (pid,)
    seen = openers.deleted(pids)
    if pid is not None and seen.hidden:
        raise procfs.failed(pid, f"list the descriptors of pid {pid}", seen.hidden[0][1], "files")
    gaps: list[Gap] = list(fds.hidden_gap(seen.hidden, "files"))
    rows: list[OpenFile] = []
    for one in seen.found:
        if one.link.startswith(NOT_FILES):
            continue
        if one.fd is None:
            rows.append(replace(without_descriptor(one.place, one.link), pid=one.pid, command=command_of(one.pid)))
            continue
        file = fds.open_file(one.pid, one.fd, "files")
        if isinstance(file, OpenFile) and file.deleted and file.kind == "file":
            rows.append(replace(file, pid=one.pid, command=command_of(one.pid)))
    refused = {hidden for hidden, _ in seen.hidden}
    for each in pids:
        if each not in refused:
            rows += _mapped(each, {row.inode for row in rows if row.pid == each})
    ordered = tuple(sorted(rows, key=lambda row: (-(row.allocated or 0), -(row.size or 0), row.pid or 0, row.fd or 0)))
    return FilesReport(process=process, taken_at=time.time(), gaps=tuple(gaps), files=ordered)


def _mapped(pid: int, known: set[int | None]) -> list[OpenFile]:
    """Deleted files that are mapped and not open, each once."""
    try:
        if _MARK not in procfs.read_file(f"/proc/{pid}/maps", _MAX_MAPS):
            return []
        found: dict[tuple[str, int], OpenFile] = {}
        for one in maps.read(pid, "files"):
            if one.deleted and one.of_file and one.inode not in known and not one.path.startswith(NOT_FILES):
                found.setdefault((one.device, one.inode), mapped_row(pid, one))
        return list(found.values())
    except (
        OSError,
        NoSuchProcess,
    ):  # it ended meanwhile, or shows no mappings, which the pass over descriptors has told
        return []
    except LookError:
        return []


def mapped_row(pid: int, one: maps.Mapping) -> OpenFile:
    """A mapping as a row; `size` is what of the file is mapped from this place on: the file itself may be longer."""
    row = without_descriptor("mapped", one.path + DELETED, one.inode, one.device)
    span = f"{one.start:x}-{one.end:x}"
    return replace(row, pid=pid, command=command_of(pid), size=one.offset + one.end - one.start, address=span)
