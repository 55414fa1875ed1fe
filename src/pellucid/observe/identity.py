"""Who a process is (`info`), which there are (`ps`), and which one a name means (`resolve`).

    4242  mina  Python 3.13   2h   asleep in recvfrom   python worker.py

Nothing is attached to: the runtime of a row is told by the name of its executable, or of a library that it has mapped.
"""

import os
import time
from errno import EACCES, EPERM

from pellucid.kernel import namespaces, permission, procfs, tasks
from pellucid.model import Gap, Identity, Limit, Process, redact
from pellucid.model.errors import LookError, NoSuchProcess, UsageError, os_words
from pellucid.model.report import InfoReport, Listed, PsReport

MAX_RELATIVES = 64
MAX_CANDIDATES = 12
_FILES = {".gz", ".heap", ".hprof", ".log", ".txt"}  # of what commands read in place of a process
_MAX_THREADS = 64  # of a process whose every thread's state is read for one row
_MAX_MAPS = 1 << 22


def info(pid: int) -> InfoReport:
    """All that /proc says of who `pid` is. Raises NoSuchProcess; what may not be read is told by the gaps."""
    process = procfs.process(pid)
    look = _Look(pid, "info")
    try:
        identity = _identity(process, look)
    except OSError as error:
        raise procfs.failed(pid, f"read /proc/{pid}", error, "info") from error
    found = with_version(pid, runtime(pid, process.exe))
    if process.exe is None:
        look.link("exe", "executable")
    return InfoReport(
        process=procfs.with_runtime(process, found) if found else process,
        taken_at=time.time(),
        gaps=look.gaps(process),
        identity=identity,
    )


def _identity(process: Process, look: "_Look") -> Identity:
    pid = process.pid
    stat, told = procfs.stat(pid), procfs.status(pid)
    return Identity(
        cwd=look.link("cwd", "working directory"),
        root=look.link("root", "root directory"),
        groups=tuple(int(group) for group in told.get("Groups", "").split()),
        limits=limits(procfs.read_file(f"/proc/{pid}/limits")),
        cgroups=_cgroups(procfs.read_file(f"/proc/{pid}/cgroup")),
        namespaces=look.namespaces(),
        ns_pids=tuple(int(number) for number in told.get("NSpid", str(pid)).split()),
        parents=_parents(stat.ppid),
        children=look.processes(procfs.children(pid), "children"),
        tracer=int(told["TracerPid"]),
        seccomp=int(told.get("Seccomp", "0")),
        capabilities=int(told["CapEff"], 16),
        cpu_s=stat.cpu_s,
        rss_bytes=stat.rss_bytes,
        open_files=look.open_files(),
    )


class _Look:
    """Reads that may be refused: what was not seen is kept by name, with the kernel's answer."""

    def __init__(self, pid: int, command: str) -> None:
        self.pid = pid
        self.command = command
        self.refused: list[str] = []
        self.refusal: OSError | None = None
        self.absent: list[str] = []
        self.others: list[Gap] = []

    def link(self, name: str, what: str) -> str | None:
        try:
            return os.readlink(f"/proc/{self.pid}/{name}")
        except OSError as error:
            self._missed(what, error)
            return None

    def namespaces(self) -> dict[str, str]:
        try:
            return {kind: str(inode) for kind, inode in namespaces.namespaces(self.pid).items()}
        except LookError as error:
            self._missed("namespaces", OSError(error.errno, os.strerror(error.errno)))
            return {}

    def open_files(self) -> int | None:
        try:
            return len(os.listdir(f"/proc/{self.pid}/fd"))
        except OSError as error:
            self._missed("open descriptors", error)
            return None

    def processes(self, pids: tuple[int, ...], what: str) -> tuple[Process, ...]:
        """Those of `pids` that are still there."""
        if len(pids) > MAX_RELATIVES:
            left = len(pids) - MAX_RELATIVES
            self.others.append(
                Gap(f"{left} of {len(pids)} {what} of pid {self.pid}", f"at most {MAX_RELATIVES} are read")
            )
        return tuple(process for pid in pids[:MAX_RELATIVES] if (process := _if_there(pid)) is not None)

    def _missed(self, what: str, error: OSError) -> None:
        if error.errno in (EACCES, EPERM):
            self.refused.append(what)
            self.refusal = self.refusal or error
        elif procfs.gone(error):
            self.absent.append(what)
        else:
            self.others.append(Gap(f"the {what} of pid {self.pid}", os_words(error)))

    def gaps(self, process: Process) -> tuple[Gap, ...]:
        """One gap for all that was refused, since one check refused it, and one for what such a process does not have."""
        found = list(self.others)
        if self.refusal is not None:
            what = f"the {_and(self.refused)} of pid {self.pid}"
            why = procfs.failed(self.pid, f"read {what}", self.refusal, self.command)
            found.append(Gap(what, why.said, why.remedy))
        if self.absent:
            kind = (
                "it is a zombie: it has ended"
                if process.state == "zombie"
                else "it runs no program (a thread of the kernel)"
            )
            found.append(Gap(f"the {_and(self.absent)} of pid {self.pid}", kind))
        return tuple(found)


def _and(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _if_there(pid: int) -> Process | None:
    try:
        return procfs.process(pid)
    except NoSuchProcess:
        return None


def _parents(ppid: int) -> tuple[Process, ...]:
    """Nearest first, to the first process of our pid namespace."""
    found: list[Process] = []
    while ppid > 0 and len(found) < MAX_RELATIVES and (parent := _if_there(ppid)) is not None:
        found.append(parent)
        ppid = parent.ppid
    return tuple(found)


def limits(text: bytes) -> tuple[Limit, ...]:
    """/proc/PID/limits: columns of fixed width (fs/proc/base.c, proc_pid_limits)."""
    lines = text.decode("ascii", "replace").split("\n")[1:]
    return tuple(
        Limit(line[:26].strip(), _limit(line[26:47]), _limit(line[47:68]), line[68:].strip()) for line in lines if line
    )


def _limit(column: str) -> int | None:
    return None if column.strip() == "unlimited" else int(column)


def _cgroups(text: bytes) -> tuple[str, ...]:
    """`0::/user.slice` is the one of cgroup v2: its path; those of v1 keep their controllers, `memory:/docker/ab`."""
    lines = (line.split(":", 2) for line in text.decode("utf-8", "replace").split("\n") if line.count(":") >= 2)
    return tuple(f"{controllers}:{path}" if controllers else path for _, controllers, path in lines)


def runtime(pid: int, exe: str | None) -> str | None:
    """`Python 3.13` or `JVM`, by the names of the executable and of what is mapped; None for others and unreadable ones."""
    if exe is None:
        return None
    name = exe.removesuffix(" (deleted)").rpartition("/")[2]
    if name.startswith("python"):
        return f"Python {name[6:]}".rstrip()
    if name == "java":
        return "JVM"
    try:
        maps = procfs.read_file(f"/proc/{pid}/maps", _MAX_MAPS)
    except OSError:  # no mapping can be read: `exe` could, so it has just ended
        return None
    at = maps.find(b"/libpython")
    if at >= 0:
        return f"Python {_digits(maps[at + 10 : at + 20])}".rstrip()
    return "JVM" if b"/libjvm.so" in maps else None


def with_version(pid: int, found: str | None) -> str | None:
    """`JVM` with the version that it tells in its counters, `JVM 17.0.15`; as it was where they can't be read."""
    if found != "JVM":
        return found
    from pellucid.runtimes.jvm.recognise import recognise  # only where there is one

    try:
        return f"JVM {recognise(pid, 'info').version}".rstrip()
    except LookError:
        return found


def info_runtime(pid: int) -> str:
    """The same for `pid`, "" for a program that is none. Raises NoSuchProcess."""
    process = procfs.process(pid)
    return runtime(pid, process.exe) or ""


def _digits(text: bytes) -> str:
    """`3.11` of `3.11.so.1.0`."""
    return ".".join(part for part in text.decode("ascii", "replace").split(".")[:2] if part.isdigit())


def ps(pattern: str | None = None) -> PsReport:
    """All processes but the kernel's threads and ourselves, or those that `pattern` matches (see `resolve`)."""
    taken_at = time.time()
    found = matching(pattern)
    rows: list[Listed] = []
    hidden: list[tuple[int, OSError]] = []
    for pid in found:
        try:
            rows.append(_row(pid, hidden))
        except NoSuchProcess:  # it ended since: the list is of those that are there
            continue
    return PsReport(process=None, taken_at=taken_at, gaps=_hidden(hidden, len(rows)), processes=tuple(rows))


def _hidden(hidden: list[tuple[int, OSError]], rows: int) -> tuple[Gap, ...]:
    if not hidden:
        return ()
    pid, error = hidden[0]
    why = procfs.failed(pid, f"read /proc/{pid}/syscall", error, "ps")
    who = f"{len(hidden)} of {rows} processes, among them pid {pid}" if len(hidden) > 1 else f"pid {pid}"
    return (Gap(f"the system call and runtime of {who}", why.said, why.remedy),)


def _row(pid: int, hidden: list[tuple[int, OSError]]) -> Listed:
    process, stat = procfs.process(pid), procfs.stat(pid)
    call = ""
    try:
        call = _call(pid)
    except OSError as error:
        if not procfs.gone(error):
            hidden.append((pid, error))
    found = with_version(pid, runtime(pid, process.exe))
    return Listed(
        process=procfs.with_runtime(process, found) if found else process,
        state=in_words(process, call, _running(process)),
        cpu_s=stat.cpu_s,
        rss_bytes=stat.rss_bytes,
    )


def _call(pid: int) -> str:
    """The system call of the main thread, "" outside of one."""
    call = tasks.parse_call(procfs.read_small(f"/proc/{pid}/syscall", 256))
    return call.name if call and call.number is not None and call.number >= 0 else ""


def _running(process: Process) -> int:
    """How many threads are on a CPU or want one; only the main thread is asked in a process with very many."""
    running = 0
    if process.threads == 1 or process.threads > _MAX_THREADS:
        return int(process.state == "running")
    try:
        for tid in os.listdir(f"/proc/{process.pid}/task")[:_MAX_THREADS]:
            stat = procfs.parse_stat(procfs.read_small(f"/proc/{process.pid}/task/{tid}/stat", 1024))
            running += stat.letter == "R"
    except OSError as error:
        if not procfs.gone(error):
            raise procfs.failed(process.pid, f"read the threads of pid {process.pid}", error, "ps") from error
    return running


def in_words(process: Process, call: str, running: int) -> str:
    """`asleep in recvfrom`, `running (2 of 8 threads)`, `stopped`, `zombie of parent 41`."""
    inside = f" in {call}" if call else ""
    if process.state == "zombie":
        if process.threads > 1:
            return f"its main thread has ended, {process.threads - 1} others go on"
        return f"zombie of parent {process.ppid}"
    if process.state in ("stopped", "traced"):
        return "stopped" if process.state == "stopped" else "stopped by a tracer"
    if running:
        return "running" if process.threads == 1 else f"running ({running} of {process.threads} threads)"
    if process.state == "sleeping":
        return f"asleep{inside}"
    return f"in disk sleep{inside}" if process.state == "disk-sleep" else process.state


def resolve(target: str) -> int:
    """The pid that `target` names: a number, or a pattern that exactly one process has in its name or command line.

    A pattern is any part of the name or of the command line, in either case, or a glob (`*worker?`) of the whole of one. It
    never means ourselves, nor the shell or sudo that runs us. Raises UsageError for none or several, and lists them.
    """
    if target.isascii() and target.isdigit():
        return int(target)
    found = matching(target)
    if len(found) == 1:
        return found[0]
    tried = f"find the process that {target!r} means"
    if not found:
        said = "no process has it in its name or command line"
        if os.path.splitext(target)[1] in _FILES and not os.path.lexists(target):
            said += ", and there is no file of that name here"
        raise UsageError(tried=tried, said=said, remedy="pellucid ps  (lists the processes that run now)")
    listed = [f"  {pid}  {_named(pid)}" for pid in found[:MAX_CANDIDATES]]
    more = [f"  and {len(found) - MAX_CANDIDATES} more"] if len(found) > MAX_CANDIDATES else []
    said = "\n".join([f"{len(found)} processes match:", *listed, *more])
    roots = [pid for pid in found if (process := _if_there(pid)) is not None and process.ppid not in found]
    remedy = "give the pid of one of them, or more of its command line"
    if len(roots) == 1:  # a program and the workers that it has forked
        remedy = f"{roots[0]}, which started the others; or the pid of one of these"
    raise UsageError(tried=tried, said=said, remedy=remedy)


def _named(pid: int) -> str:
    process = _if_there(pid)
    return "(ended meanwhile)" if process is None else f"{process.name}  {' '.join(process.command)[:100]}".rstrip()


def matching(pattern: str | None) -> tuple[int, ...]:
    """The pids of all processes, or of those that `pattern` matches, without the kernel's threads and those that run us."""
    ours = _that_run_us()
    found = []
    for pid, stat in procfs.all_stats():
        if stat.kernel_thread or pid in ours or (pattern is not None and not _matches(pid, stat.name, pattern)):
            continue
        found.append(pid)
    return tuple(found)


def _matches(pid: int, name: str, pattern: str) -> bool:
    try:
        line = " ".join(redact.command(procfs.command(pid)))
    except NoSuchProcess:
        return False
    wanted, names = pattern.lower(), (name.lower(), line.lower())
    if any(one in pattern for one in "*?["):
        from fnmatch import fnmatchcase

        return any(fnmatchcase(one, wanted) for one in names)
    return any(wanted in one for one in names)


def contained() -> bool:
    """Whether this is a pid namespace of its own, in which the pids of the machine mean nothing (pid_namespaces(7))."""
    try:
        return os.stat("/proc/self/ns/pid").st_ino != permission.INITIAL_PID_NS
    except OSError:  # a kernel without them, or no /proc: what is asked next will say so
        return False


def _that_run_us() -> set[int]:
    """Ourselves, and those of our ancestors that have us on their command line (`sudo pellucid why x`, `sh -c ...`)."""
    pid = os.getpid()
    found = {pid}
    for parent in _parents(os.getppid()):
        if any("pellucid" in text for text in parent.command):
            found.add(parent.pid)
    return found
