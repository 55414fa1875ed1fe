"""Rows of `pellucid files`: of one process, of several with their pid, and of groups of equal descriptors."""

import os
from collections.abc import Sequence

from pellucid.model import OpenFile
from pellucid.model.report import FilesReport, LeaksReport
from pellucid.present.cli import plain, screen

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def show(target: str, *, as_json: bool = False) -> int:
    """`pellucid files TARGET` without options: look and print; the exit status is 0, what goes wrong is raised."""
    tell(look(target), as_json=as_json)
    return 0


def look(target: str) -> FilesReport:
    """Who has the file, where `target` is the path of one, else what that process has open."""
    if is_path(target):
        from pellucid.observe.holders import of_path

        return of_path(target)
    from pellucid.observe.files import files

    return files(plain.resolve(target))


def is_path(target: str) -> bool:
    """It holds a slash, or is the name of something in this directory and no number."""
    return "/" in target or (not target.isdigit() and os.path.lexists(target))


def tell(report: FilesReport, *, as_json: bool, deleted: bool = False, port: int | None = None) -> None:
    """Print it. `deleted`, `port`: what was asked for."""
    if as_json:
        plain.emit(report)
        return
    if isinstance(report, LeaksReport):
        of_groups(report)
    elif not report.files:
        nothing = "holds a deleted file" if deleted else f"holds port {port}" if port is not None else "has it open"
        screen.say(f"no process that is seen from here {nothing}")
    elif deleted:
        of_deleted(report.files)
    elif report.process is None:
        of_several(report.files)
    else:
        of_one(report.files)
    for line in screen.gaps(report.gaps):
        screen.say(line, dim=True)


def size(number: int | None) -> str:
    """`4.1 GiB`; "" for None."""
    if number is None:
        return ""
    value = float(number)
    for unit in _UNITS:
        if value < 1024 or unit == _UNITS[-1]:
            return f"{number} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return ""


def what(file: OpenFile) -> str:
    """The path, and what is to be said of it."""
    holders = ", ".join(f"pid {pid}" for pid in file.holders[:4]) + (", ..." if len(file.holders) > 4 else "")
    detail = f"  {file.detail}" if file.detail else ""
    return f"{file.path}{'  (deleted)' if file.deleted else ''}{detail}" + (f"  ({holders})" if holders else "")


def of_one(files: Sequence[OpenFile]) -> None:
    """The descriptors of one process."""
    rows = [
        (
            "" if file.fd is None else str(file.fd),
            file.kind,
            file.flags,
            "" if file.size is None else str(file.size),
            what(file),
        )
        for file in files
    ]
    screen.table(("FD", "KIND", "FLAGS", "SIZE", "WHAT"), rows, right=frozenset({0, 3}))


def of_several(files: Sequence[OpenFile]) -> None:
    """Who holds a file or port."""
    rows = [
        (
            "" if file.pid is None else str(file.pid),
            file.command,
            file.kind if file.fd is None else str(file.fd),
            file.flags,
            what(file),
        )
        for file in files
    ]
    screen.table(("PID", "COMMAND", "FD", "FLAGS", "WHAT"), rows, right=frozenset({0}))


def of_deleted(files: Sequence[OpenFile]) -> None:
    """Deleted files with their room on the disk, and the sum: a file that several hold is counted once.

    The semaphores of multiprocessing have no name from their beginning, take a page of memory each, and are held by every worker: a line.
    """
    semaphores = [file for file in files if file.fd is None and file.path.startswith(_SEMAPHORE)]
    files = [file for file in files if file not in semaphores]
    rows = [
        (
            size(file.allocated if file.allocated is not None else file.size),
            "" if file.pid is None else str(file.pid),
            file.command,
            file.kind if file.fd is None else str(file.fd),
            f"{file.path}{f'  {file.address}' if file.address else ''}",
        )
        for file in files
    ]
    if rows:
        screen.table(("DISK", "PID", "COMMAND", "FD", "WHAT"), rows, right=frozenset({0, 1}))
    if semaphores:
        names, holders = len({file.path for file in semaphores}), len({file.pid for file in semaphores})
        told = f"{names} semaphore{'s' * (names > 1)} in /dev/shm, mapped by {holders} process{'es' * (holders > 1)}"
        screen.say(f"and {told}: they take memory, no disk (--json lists them)", dim=True)
    once = {(file.device, file.inode): file.allocated or 0 for file in files if file.inode is not None}
    if sum(once.values()):
        screen.say(f"{size(sum(once.values()))} in {len(once)} files; `pellucid recover PID` copies one back", dim=True)


_SEMAPHORE = "/dev/shm/sem."  # what sem_open(3) makes, sem_overview(7)


def of_groups(report: LeaksReport) -> None:
    """What fills the table of descriptors."""
    of = f" of {report.limit}" if report.limit is not None else ""
    grown = f"; {report.grown:+d} in {report.span_s:.1f} s" if report.grown else ""
    screen.say(f"{report.open_files}{of} descriptors{grown}", bold=True)
    rows = [
        (str(group.count), f"{group.grown:+d}" if group.grown else "", group.what, ", ".join(map(str, group.fds)))
        for group in report.groups[:20]
    ]
    screen.table(("COUNT", "GROWN", "WHAT", "FDS"), rows, right=frozenset({0, 1}))
    if len(report.groups) > 20:
        screen.say(f"and {len(report.groups) - 20} more kinds (--json lists them)", dim=True)
