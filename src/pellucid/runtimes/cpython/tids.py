"""Which task of the kernel a Python thread is.

`native_thread_id` is gettid(2) as the thread itself saw it: in a container that is a number of its own pid namespace, and in
the child of a fork it may still be the parent's.
"""

import os

from pellucid.kernel import namespaces


class Tids:
    """The thread ids of process `pid` as they are here."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._nested: bool | None = None
        self._outer: dict[int, int] = {}

    def outer(self, tid: int) -> int:
        """The id here of the thread that calls itself `tid`. One that no task has is the main thread's, from before a fork."""
        found = self._outer.get(tid)
        if found is None:
            self._outer = self._tasks()
            found = self._outer.setdefault(tid, self._pid)
        return found

    def _tasks(self) -> dict[int, int]:
        if self._nested is None:
            self._nested = len(namespaces.ns_pids(self._pid)) > 1
        if self._nested:
            return namespaces.outer_tids(self._pid)
        try:
            return {int(tid): int(tid) for tid in os.listdir(f"/proc/{self._pid}/task")}
        except OSError:
            return {}  # it has ended: the next read of its memory says so

    def comm(self, tid: int) -> str:
        """The kernel's name of the task, "" when it has ended."""
        try:
            with open(f"/proc/{self._pid}/task/{tid}/comm", encoding="utf-8", errors="replace") as file:
                return file.read(64).rstrip("\n")
        except OSError:
            return ""
