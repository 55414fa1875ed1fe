"""Children that end with their parent, and how one ended.

The signal of PR_SET_PDEATHSIG comes when the *thread* that is the parent ends (prctl(2)), and is not sent for a parent that died before
the call: hence the comparison of getppid afterwards. It survives execve, and is cleared in a child of fork: each process sets its own.
A pidfd becomes readable when its process ends (pidfd_open(2)), so a poll loop learns of it without SIGCHLD.
"""

import ctypes
import itertools
import os
import signal
import traceback
from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

# include/uapi/linux/prctl.h
_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_PTRACER = 0x59616D61
# include/uapi/asm-generic/mman-common.h
_MADV_DONTNEED = 4

_libc = ctypes.CDLL(None, use_errno=True)


class Death(Struct, frozen=True):
    """How a process ended: by `signal`, or with exit `status`."""

    signal: int = 0
    status: int = 0
    core: bool = False

    def wait_status(self) -> int:
        """As wait(2) gives it."""
        return self.signal | (0x80 if self.core else 0) | self.status << 8

    def __str__(self) -> str:
        if self.signal:
            return f"killed by {signal_name(self.signal)}" + (" (core dumped)" if self.core else "")
        return f"exited with status {self.status}"


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _prctl(option: int, argument: int) -> int:
    return int(
        _libc.prctl(
            ctypes.c_int(option),
            ctypes.c_ulong(argument),
            ctypes.c_ulong(0),
            ctypes.c_ulong(0),
            ctypes.c_ulong(0),
        )
    )


def die_with(parent: int, last: int = signal.SIGKILL) -> None:
    """Get the signal `last` when process `parent`, which must be our parent, ends; if it ended already, end now."""
    if _prctl(_PR_SET_PDEATHSIG, last) != 0 or os.getppid() != parent:
        os._exit(1)


def adopt_orphans() -> None:
    """Become the parent of grandchildren whose own parent ends (PR_SET_CHILD_SUBREAPER)."""
    if _prctl(_PR_SET_CHILD_SUBREAPER, 1) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "prctl(PR_SET_CHILD_SUBREAPER)")


def let_look(pid: int) -> None:
    """Where Yama guards ptrace, let `pid` and its descendants look at us (PR_SET_PTRACER). EINVAL: there is no Yama, nothing to do."""
    _prctl(_PR_SET_PTRACER, pid)


def name_thread(name: str) -> None:
    """The name of the calling thread as ps and /proc/PID/comm show it; the kernel keeps 15 bytes."""
    _libc.prctl(ctypes.c_int(_PR_SET_NAME), ctypes.c_char_p(name.encode()[:15]))


def let_go_of_files() -> int:
    """Take clean pages of files (code of libraries) out of this process's page table; returns how many bytes those mappings have.

    What it touches again comes back from the page cache by a minor fault. MADV_DONTNEED (madvise(2)) would lose what was written to a private
    mapping: only mappings that can't be written to and hold no private page are named to it ("Anonymous" of /proc/PID/smaps, proc_pid_smaps(5)).
    """
    let_go = 0
    begin = end = 0
    with open("/proc/self/smaps", encoding="utf-8", errors="replace") as file:
        for line in file:
            first, *fields = line.split()
            if not first.endswith(":"):
                begin = end = 0
                if len(fields) >= 5 and fields[0] in {"r-xp", "r--p"} and fields[4].startswith("/"):
                    begin, end = (int(edge, 16) for edge in first.split("-"))
            elif first == "Anonymous:" and end and fields[0] == "0":
                size = end - begin
                if _libc.madvise(ctypes.c_void_p(begin), ctypes.c_size_t(size), ctypes.c_int(_MADV_DONTNEED)) == 0:
                    let_go += size
    return let_go


def give_back() -> None:
    """What malloc has free, page by page, also between blocks that are in use (malloc_trim(3)). Nothing with a libc that has no such call."""
    if hasattr(_libc, "malloc_trim"):
        _libc.malloc_trim(ctypes.c_size_t(0))


def spawn(
    arguments: Sequence[str], environment: Mapping[str, str], keep: Sequence[int], last: int = signal.SIGKILL
) -> int:
    """Start a program that gets the signal `last` when we end; its stdout is our stderr. `keep`: descriptors that it inherits beside 0, 1 and 2."""

    def become() -> None:
        os.setpgid(0, 0)  # Ctrl-C at the terminal reaches only us
        os.dup2(2, 1)
        for fd in keep:
            os.set_inheritable(fd, True)
        os.execve(arguments[0], list(arguments), dict(environment))

    return fork(become, last)


def fork(do: Callable[[], None], last: int = signal.SIGKILL) -> int:
    """Do something in a child that gets the signal `last` when we end, and return its pid. The caller must have one thread only."""
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    status = 127
    try:
        die_with(parent, last)
        do()
        status = 0
    except BaseException:  # noqa: BLE001  this is the child: whatever happens, it must not go on as the parent
        traceback.print_exc()
    finally:
        os._exit(status)


def stand_alone(keep: Sequence[int]) -> None:
    """In a child that goes on for long without another program: no terminal's Ctrl-C, no descriptor and no signal handler of its parent.

    Of descriptors only 0, 1 (which leads to 2), 2 and `keep` stay: a listener that it held would keep a port that its parent has given up.
    """
    os.setpgid(0, 0)
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    os.dup2(2, 1)
    edges = [2, *sorted(keep), os.sysconf("SC_OPEN_MAX")]
    for below, above in itertools.pairwise(edges):
        os.closerange(below + 1, above)


def ended(pid: int) -> Death | None:
    """How our child `pid` ended, and forget it; None while it runs. ChildProcessError where it is no child of ours."""
    found, status = os.waitpid(pid, os.WNOHANG)
    if not found:
        return None
    if os.WIFSIGNALED(status):
        return Death(signal=os.WTERMSIG(status), core=os.WCOREDUMP(status))
    return Death(status=os.WEXITSTATUS(status))
