"""The end of a process that is not our child: when it comes, and with which exit status.

A pidfd becomes readable when the process ends (pidfd_open(2)), and names that one process for as long as it is open. Its exit status is in
/proc/PID/stat while it waits for its parent to collect it (the last field, proc_pid_stat(5)); once it is collected, the pidfd tells it where
the kernel is 6.15 or newer (PIDFD_GET_INFO with PIDFD_INFO_EXIT, include/uapi/linux/pidfd.h; fs/pidfs.c, pidfs_exit). A parent is told by wait.
"""

import os
import signal
from fcntl import ioctl
from struct import Struct as Packing

from pellucid.kernel import procfs

_INFO = Packing("<QQ11Ii")
"""struct pidfd_info, its first version: mask, cgroupid, pid, tgid, ppid, four uids and gids, exit_code."""
_GET_INFO = (3 << 30) | (_INFO.size << 16) | (0xFF << 8) | 11  # _IOWR(PIDFS_IOCTL_MAGIC, 11, struct pidfd_info)
_EXIT = 1 << 3
_DUMPED = 0x80


class Life:
    """A process whose end is awaited. Raises ProcessLookupError when it is not there, OSError where there are no pidfds (before Linux 5.3)."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.fd = os.pidfd_open(pid)

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def status(self) -> tuple[int, str] | None:
        """After its end: (its status as wait(2) gives it, who told it); None where it is not known, or not yet."""
        found = self._told_to_parent()
        if found is not None:
            return found, "wait"
        found = self._told_by_pidfd()
        if found is not None:
            return found, "the kernel (pidfd)"
        found = self._told_by_stat()
        if found is not None:
            return found, f"/proc/{self.pid}/stat"
        found = self._told_by_pidfd()  # it was collected between the two
        return None if found is None else (found, "the kernel (pidfd)")

    def _told_to_parent(self) -> int | None:
        """Of a child of ours, which stays to be collected (WNOWAIT; P_PIDFD since Linux 5.4, waitid(2))."""
        try:
            seen = os.waitid(os.P_PIDFD, self.fd, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except OSError:  # it is somebody else's child
            return None
        if seen is None:
            return None
        if seen.si_code == os.CLD_EXITED:
            return seen.si_status << 8
        return seen.si_status | (_DUMPED if seen.si_code == os.CLD_DUMPED else 0)

    def _told_by_pidfd(self) -> int | None:
        asked = bytearray(_INFO.pack(_EXIT, *([0] * 13)))
        try:
            ioctl(self.fd, _GET_INFO, asked)
        except OSError:  # an older kernel; or it is not collected yet: then its stat tells
            return None
        mask, *_, status = _INFO.unpack(asked)
        return int(status) if mask & _EXIT else None

    def _told_by_stat(self) -> int | None:
        """Of a zombie; the pid is still its own. The kernel says 0 to who may not trace it, which may not be told from a true 0."""
        try:
            text = procfs.read_small(f"/proc/{self.pid}/stat", 4096)
        except OSError:
            return None
        field = text[text.rindex(b")") + 2 :].split()
        if field[0] not in {b"Z", b"X"}:
            return None
        status = int(field[-1])
        return status if status or self._ours() else None

    def _ours(self) -> bool:
        """ptrace_may_access says yes for certain: root, or the same user (a zombie has no memory, and is not dumpable to others)."""
        return os.geteuid() == 0


def decoded(status: int) -> tuple[int | None, str | None, bool]:
    """(exit status, name of the signal that ended it, whether core was dumped) of a status as wait(2) gives it."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        try:
            name = signal.Signals(number).name
        except ValueError:
            name = f"SIG{number}"
        return None, name, bool(status & _DUMPED)
    return os.WEXITSTATUS(status), None, False
