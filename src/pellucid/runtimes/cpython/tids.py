"""Which task of the kernel a Python thread is.

`native_thread_id` is gettid(2) as the thread itself saw it: in a container that is a number of its own pid namespace.
"""

import os


class Tids:
    """The thread ids of process `pid` as they are here."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._nested: bool | None = None
        self._outer: dict[int, int] = {}

    def outer(self, tid: int) -> int | None:
        """The id here of the thread that calls itself `tid`; None when it has ended."""
        if tid not in self._outer:
            self._outer = self._tasks()
        return self._outer.get(tid)

    def _tasks(self) -> dict[int, int]:
        if self._nested is None:
            self._nested = not self._is_in_ours()
        if self._nested:
            from pellucid.kernel import namespaces  # most processes are in our own

            return namespaces.outer_tids(self._pid)
        try:
            return {int(tid): int(tid) for tid in os.listdir(f"/proc/{self._pid}/task")}
        except OSError:
            return {}  # it has ended: the next read of its memory says so

    def _is_in_ours(self) -> bool:
        """Whether its pid namespace is ours; where that may not be read, its own numbers are compared."""
        try:
            return os.readlink(f"/proc/{self._pid}/ns/pid") == os.readlink("/proc/self/ns/pid")
        except OSError:
            return False

    def comm(self, tid: int) -> str:
        """The kernel's name of the task, "" when it has ended."""
        try:
            with open(f"/proc/{self._pid}/task/{tid}/comm", encoding="utf-8", errors="replace") as file:
                return file.read(64).rstrip("\n")
        except OSError:
            return ""
