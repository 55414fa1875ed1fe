"""Who a process is: /proc/PID/{stat,status,cmdline,exe}, read once, as values.

All files of one process are opened relative to its directory, which names that one process for as long as it is open: when
it ends they answer ESRCH, also after its pid was given to another one (fs/proc/base.c, proc_pid_lookup and get_proc_task).
"""

import os
from errno import ENOENT, ESRCH
from functools import lru_cache

from msgspec import Struct
from msgspec.structs import replace

from pellucid.kernel.clock import TICKS_PER_SECOND, started_at
from pellucid.model import Process, redact
from pellucid.model.errors import LookError, NoSuchProcess

STATES = {
    "R": "running",
    "S": "sleeping",
    "D": "disk-sleep",
    "T": "stopped",
    "t": "traced",
    "Z": "zombie",
    "X": "dead",
    "I": "idle",
    "P": "parked",
}
"""The letter of /proc/PID/stat to a word (fs/proc/array.c, task_state_array)."""

KERNEL_THREAD = 0x00200000
EXITING = 0x00000004
"""PF_KTHREAD and PF_EXITING of include/linux/sched.h, in the flags of /proc/PID/stat."""

NOT_EXECUTED = 0x00000040
"""PF_FORKNOEXEC: it was forked, and has not called execve since."""

MAX_COMMAND = 1 << 17
"""Bytes of a command line that are read; longer ones are cut."""

_PAGE = os.sysconf("SC_PAGE_SIZE")
_MAX_FILE = 1 << 16
_MAX_CHILDREN = 1 << 20
_PIECE = 1 << 16
"""Bytes of one read. Room for all that a file may have would be taken each time, and glibc, once it has given back a block of 16 MiB, keeps
up to twice as much of what is freed later (mallopt(3), M_MMAP_THRESHOLD)."""


class Stat(Struct, frozen=True):
    """/proc/PID/stat (proc_pid_stat(5)), of a process or of one thread."""

    pid: int
    name: str
    letter: str
    ppid: int
    flags: int
    major_faults: int
    """Page faults that had to wait for a disk."""
    cpu_s: float
    """User and system, all threads, in the kernel's ticks of 10 ms."""
    threads: int
    start_ticks: int
    rss_bytes: int
    cpu: int
    """The CPU it last ran on."""

    @property
    def state(self) -> str:
        return STATES.get(self.letter, self.letter)

    @property
    def kernel_thread(self) -> bool:
        return bool(self.flags & KERNEL_THREAD)

    @property
    def ended(self) -> bool:
        """It is a zombie, or about to be: it gives its memory up before (kernel/exit.c, do_exit)."""
        return self.letter in "ZX" or bool(self.flags & EXITING)


def read_file(path: str, limit: int = _MAX_FILE, dir_fd: int | None = None) -> bytes:
    """The file up to `limit` bytes. Raises OSError."""
    fd = os.open(path, os.O_RDONLY, dir_fd=dir_fd)
    try:
        parts: list[bytes] = []
        size = 0
        while size < limit and (part := os.read(fd, min(_PIECE, limit - size))):  # /proc gives large files page by page
            parts.append(part)
            size += len(part)
        return b"".join(parts)
    finally:
        os.close(fd)


def read_small(path: str, size: int, dir_fd: int | None = None) -> bytes:
    """What one read of `size` bytes gives: for files that are made in one piece. Raises OSError."""
    fd = os.open(path, os.O_RDONLY, dir_fd=dir_fd)
    try:
        return os.read(fd, size)
    finally:
        os.close(fd)


def gone(error: OSError) -> bool:
    """The kernel says that the process is no longer there: ENOENT at open, ESRCH at read."""
    return error.errno in (ENOENT, ESRCH)


def failed(pid: int, tried: str, error: OSError, command: str = "why") -> LookError:
    """Why `tried` failed: it ended, or the one check that said no."""
    from pellucid.kernel import access  # its checks are needed only when the kernel refused

    return access.refused(pid, tried, error, command)


def pids() -> tuple[int, ...]:
    """Every process that /proc shows to us, lowest pid first."""
    return tuple(sorted(int(name) for name in os.listdir("/proc") if name.isdigit()))


def stat(pid: int) -> Stat:
    """Raises NoSuchProcess."""
    try:
        return parse_stat(read_small(f"/proc/{pid}/stat", 4096))
    except OSError as error:
        raise failed(pid, f"read /proc/{pid}/stat", error) from error


def parse_stat(text: bytes) -> Stat:
    """The name stands in brackets and may itself hold brackets and spaces: the last bracket ends it."""
    opened, closed = text.index(b"("), text.rindex(b")")
    field = text[closed + 2 :].split()  # field[0] is the state, which proc_pid_stat(5) counts as the third
    return Stat(
        pid=int(text[:opened]),
        name=text[opened + 1 : closed].decode("utf-8", "replace"),
        letter=field[0].decode(),
        ppid=int(field[1]),
        flags=int(field[6]),
        major_faults=int(field[9]),
        cpu_s=(int(field[11]) + int(field[12])) / TICKS_PER_SECOND,
        threads=int(field[17]),
        start_ticks=int(field[19]),
        rss_bytes=int(field[21]) * _PAGE,
        cpu=int(field[36]),
    )


def status(pid: int) -> dict[str, str]:
    """/proc/PID/status (proc_pid_status(5)) as a dict of its lines. Raises NoSuchProcess."""
    try:
        return parse_status(read_file(f"/proc/{pid}/status"))
    except OSError as error:
        raise failed(pid, f"read /proc/{pid}/status", error) from error


def parse_status(text: bytes) -> dict[str, str]:
    pairs = (line.partition(":") for line in text.decode("utf-8", "replace").split("\n"))
    return {name: value.strip() for name, colon, value in pairs if colon}


def command(pid: int) -> tuple[str, ...]:
    """The command line as it is now, with its secrets; empty for kernel threads and zombies. Raises NoSuchProcess."""
    try:
        return parse_command(read_file(f"/proc/{pid}/cmdline", MAX_COMMAND))
    except OSError as error:
        raise failed(pid, f"read /proc/{pid}/cmdline", error) from error


def parse_command(text: bytes) -> tuple[str, ...]:
    """NUL ends each argument; a program that writes a title over its arguments pads it with NULs (setproctitle)."""
    text = text.rstrip(b"\0")
    return tuple(text.decode("utf-8", "replace").split("\0")) if text else ()


def process(pid: int) -> Process:
    """Secrets on its command line are hidden. Raises NoSuchProcess, also for the id of a thread that is no process."""
    try:
        directory = os.open(f"/proc/{pid}", os.O_PATH | os.O_DIRECTORY)
    except OSError as error:
        raise failed(pid, f"look at pid {pid}", error) from error
    try:
        return _process(pid, directory)
    except OSError as error:
        raise failed(pid, f"read /proc/{pid}", error) from error
    finally:
        os.close(directory)


def _process(pid: int, directory: int) -> Process:
    seen = parse_stat(read_small("stat", 4096, directory))
    told = parse_status(read_file("status", dir_fd=directory))
    tgid = int(told["Tgid"])
    if tgid != pid:
        raise thread_of(pid, tgid)
    uid = int(told["Uid"].split()[1])
    return Process(
        pid=pid,
        ppid=seen.ppid,
        name=seen.name,
        command=redact.command(parse_command(read_file("cmdline", MAX_COMMAND, directory))),
        state=seen.state,
        uid=uid,
        user=user(uid),
        started_at=started_at(seen.start_ticks),
        start_ticks=seen.start_ticks,
        threads=seen.threads,
        exe=_exe(directory),
    )


def with_state(process: Process, state: str) -> Process:
    """The same process, seen later in `state`."""
    return replace(process, state=state)


def with_runtime(process: Process, runtime: str) -> Process:
    """The same process, found to run `runtime`."""
    return replace(process, runtime=runtime)


def thread_of(tid: int, pid: int) -> NoSuchProcess:
    """/proc/TID exists for every thread, though it is not listed: say whose thread it is."""
    return NoSuchProcess(
        tid,
        tried=f"look at pid {tid}",
        said=f"{tid} is no process but a thread of pid {pid}",
        remedy=f"pellucid why {pid}",
    )


def _exe(directory: int) -> str | None:
    """None for kernel threads, zombies, and where we may not look (it needs the right to trace)."""
    try:
        return os.readlink("exe", dir_fd=directory)
    except OSError:
        return None


@lru_cache(256)
def user(uid: int) -> str:
    """The name of user `uid` on this machine, the number where it has none (as in most containers)."""
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def exists(pid: int, start_ticks: int) -> bool:
    """The process that had `pid` when it was first looked at is still there (as a zombie too), not another one."""
    try:
        return parse_stat(read_small(f"/proc/{pid}/stat", 4096)).start_ticks == start_ticks
    except OSError as error:
        if gone(error):
            return False
        raise failed(pid, f"read /proc/{pid}/stat", error) from error


def lives(pid: int, start_ticks: int) -> bool:
    """The same, and it is no zombie."""
    try:
        seen = parse_stat(read_small(f"/proc/{pid}/stat", 4096))
    except OSError as error:
        if gone(error):
            return False
        raise failed(pid, f"read /proc/{pid}/stat", error) from error
    return seen.start_ticks == start_ticks and seen.letter not in "ZX"


def children(pid: int) -> tuple[int, ...]:
    """Its live and zombie children. One read a thread with CONFIG_PROC_CHILDREN, else a pass over all processes."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
        lists = [read_file(f"/proc/{pid}/task/{tid}/children", _MAX_CHILDREN) for tid in threads]
    except OSError:
        return tuple(child for child, seen in all_stats() if seen.ppid == pid)
    return tuple(sorted(int(child) for found in lists for child in found.split()))


def all_stats() -> tuple[tuple[int, Stat], ...]:
    """(pid, stat) of every process that did not end meanwhile: one pass."""
    found: list[tuple[int, Stat]] = []
    for pid in pids():
        try:
            found.append((pid, parse_stat(read_small(f"/proc/{pid}/stat", 4096))))
        except OSError as error:
            if not gone(error):
                raise failed(pid, f"read /proc/{pid}/stat", error) from error
    return tuple(found)
