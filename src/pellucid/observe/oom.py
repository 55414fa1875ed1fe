"""What is there to judge an out-of-memory death by: a text, a process that lives or lived, a cgroup."""

import os
import time

from pellucid.kernel import cgroups, killlog, procfs
from pellucid.model import Gap, Process
from pellucid.model.cgroup import MemoryGroup
from pellucid.model.collector import Collector
from pellucid.model.errors import LookError, NoSuchProcess, UsageError, os_words
from pellucid.model.oom import Kill, OomSeen, Resident
from pellucid.observe.identity import limits

MAX_TEXT = 1 << 26
_MOST_MEMBERS = 5


def of_text(text: str) -> tuple[OomSeen, tuple[Gap, ...]]:
    """What a log or a message says by itself."""
    return OomSeen(text=text, kills=killlog.kills(text)), ()


def of_file(path: str) -> tuple[OomSeen, tuple[Gap, ...]]:
    """The same of the last MAX_TEXT bytes of a file. Raises UsageError."""
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_TEXT:
                file.seek(size - MAX_TEXT)
            text = file.read(MAX_TEXT).decode("utf-8", "replace")
    except OSError as error:
        raise UsageError(tried=f"read {path}", said=os_words(error), remedy="pellucid oom --help") from error
    return of_text(text)


def of_pid(pid: int) -> tuple[OomSeen, tuple[Gap, ...]]:
    """A process that lives, or one that is gone: then only the log can tell. Raises NoSuchProcess when nothing does."""
    logged, gaps = _logged()
    try:
        process = procfs.process(pid)
    except NoSuchProcess:
        own = tuple(kill for kill in logged or () if kill.pid == pid)
        if not own:
            raise _no_trace(pid, logged, gaps) from None
        groups = {kill.cgroup for kill in own if kill.cgroup}
        beside = tuple(kill for kill in logged or () if kill.cgroup in groups and kill not in own)
        return OomSeen(pid=pid, kills=own + beside, log_read=logged is not None), gaps
    above = cgroups.memory_groups(pid)
    paths = {group.path for group in above}
    kills = tuple(kill for kill in logged or () if kill.pid == pid or kill.cgroup in paths)
    status = procfs.status(pid)
    return (
        OomSeen(
            pid=pid,
            process=process,
            kills=kills,
            groups=above,
            members=_members(above),
            limits=limits(procfs.read_file(f"/proc/{pid}/limits")),
            virtual_bytes=_kib(status, "VmSize"),
            data_bytes=_kib(status, "VmData"),
            resident_bytes=_kib(status, "VmRSS"),
            collector=_collector(process),
            oom_score=_number(f"/proc/{pid}/oom_score"),
            oom_score_adj=_number(f"/proc/{pid}/oom_score_adj"),
            log_read=logged is not None,
        ),
        gaps,
    )


def of_cgroup(name: str) -> tuple[OomSeen, tuple[Gap, ...]]:
    """A memory cgroup by its folder or its path in the hierarchy; it may be gone, then the log alone can tell. Raises UsageError."""
    logged, gaps = _logged()
    groups = cgroups.memory_group(name)
    path = groups[0].path if groups else name
    kills = tuple(kill for kill in logged or () if path in {kill.cgroup, kill.task_cgroup})
    if not groups and not kills:
        raise UsageError(
            tried=f"look at the memory cgroup {name}",
            said="there is no such group in the memory hierarchy, and the kernel's log has no kill in it",
            remedy="cat /proc/PID/cgroup  (names the groups of a process)",
        )
    return OomSeen(kills=kills, groups=groups, members=_members(groups), log_read=logged is not None), gaps


def _members(groups: tuple[MemoryGroup, ...]) -> tuple[Resident, ...]:
    """The largest processes of the first group now."""
    found = []
    for pid in cgroups.members(groups[0].folder) if groups else ():
        try:
            stat = procfs.stat(pid)
        except LookError:  # it ended meanwhile
            continue
        found.append(Resident(pid, stat.name, stat.rss_bytes))
    return tuple(sorted(found, key=lambda one: -one.resident_bytes)[:_MOST_MEMBERS])


def _logged() -> tuple[tuple[Kill, ...] | None, tuple[Gap, ...]]:
    """The kills in the kernel's log with the time of day; None where it may not be read."""
    try:
        found = killlog.kills(killlog.kernel_log())
    except OSError as error:
        remedy = "run it as root, or give it the output of dmesg: dmesg | pellucid oom -"
        return None, (Gap("the kernel's log (/dev/kmsg)", os_words(error), remedy),)
    booted = killlog.boot_time()
    return tuple(_dated(kill, booted) for kill in found), ()


def _dated(kill: Kill, booted: float) -> Kill:
    from msgspec.structs import replace

    since = killlog.boot_time_of(kill.at)
    if since is None:
        return kill
    # The kernel's stamps stop while the machine is suspended: the time of day is right where it never was.
    return replace(kill, at=time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(booted + since)))


def _no_trace(pid: int, logged: tuple[Kill, ...] | None, gaps: tuple[Gap, ...]) -> LookError:
    if logged is None:
        said = f"there is no process {pid}, and the kernel's log, which would name it, may not be read ({gaps[0].why})"
        return NoSuchProcess(pid, tried=f"find out how pid {pid} died", said=said, remedy=gaps[0].remedy)
    return NoSuchProcess(
        pid,
        tried=f"find out how pid {pid} died",
        said=f"there is no process {pid}, and the kernel's log does not name it: as far as it reaches back, the OOM killer did not end it",
        remedy="pellucid oom FILE  (a log that is older, or what the program printed)",
    )


def _collector(process: Process) -> Collector | None:
    """How full a JVM is; None for what is none, or may not be read, or publishes no counters."""
    from pellucid.observe.identity import runtime

    if runtime(process.pid, process.exe) != "JVM":
        return None
    from pellucid.observe.jvm_collector import report

    try:
        return report(process.pid).collector
    except LookError:
        return None


def _kib(status: dict[str, str], name: str) -> int | None:
    return int(status[name].split()[0]) * 1024 if name in status else None


def _number(path: str) -> int | None:
    try:
        return int(procfs.read_small(path, 32))
    except OSError:  # it ended meanwhile
        return None
