"""The processes that are sampled: those that were asked for, and their children, also those that are started later.

The number of the youngest task stands in /proc/loadavg (proc_loadavg(5)): only when it has changed is there anyone new to look for.
A child that lives for less than LOOK_S may never be seen, nor one whose parent ended before it was.
"""

import os
import time

from pellucid.kernel import procfs
from pellucid.model import Gap
from pellucid.model.errors import NoSuchProcess
from pellucid.model.profile import Mode
from pellucid.observe.sampler_process import Watched

LOOK_S = 0.02
MOST_PROCESSES = 1000
ATTACH_AT_ONCE = 2
"""Processes that are attached between two ticks: it takes milliseconds each."""


class Family:
    """All of them. `missed`: how many more than MOST_PROCESSES there were."""

    def __init__(self, root: int, mode: Mode, interval_ns: int, *, children: bool, not_yet: bytes = b"") -> None:
        """`not_yet`: the command line of the first process before its execve."""
        self._mode = mode
        self._interval_ns = interval_ns
        self._children = children
        self._known: set[int] = set()
        self._youngest = b""
        self._looked_at = 0.0
        self.missed = 0
        self.settled = False
        """Nobody is to be attached before the next look."""
        self.all: list[Watched] = []
        self.alive: list[Watched] = []
        self._add(root, None, not_yet)
        self.look()

    @property
    def reading(self) -> list[Watched]:
        return [each for each in self.alive if each.reading]

    def _add(self, pid: int, like: Watched | None, not_yet: bytes = b"") -> None:
        self._known.add(pid)
        if len(self.all) >= MOST_PROCESSES:
            self.missed += 1
            return
        try:
            found = Watched(pid, self._mode, self._interval_ns, like, not_yet=not_yet)
        except NoSuchProcess:
            return
        self.all.append(found)
        self.alive.append(found)

    def look(self) -> None:
        """Find new children, and attach what is due. To be called between ticks."""
        now = time.monotonic()
        if now - self._looked_at >= LOOK_S:
            self._looked_at = now
            if self._children:
                self._find()
            self.alive = [each for each in self.alive if not each.ended]
        due = [each for each in self.alive if each.next_attach <= now]
        for each in due[:ATTACH_AT_ONCE]:
            each.attach()
        self.settled = all(each.next_attach > now + LOOK_S for each in self.alive)

    def _find(self) -> None:
        youngest = procfs.read_small("/proc/loadavg", 128).rsplit(None, 1)[-1]
        if youngest == self._youngest:
            self._end()
            return
        self._youngest = youngest
        watched = {each.pid: each for each in self.alive}
        there = {int(name) for name in os.listdir("/proc") if name.isdigit()}
        self._known &= there
        for pid in sorted(there - self._known):
            try:
                seen = procfs.stat(pid)
            except NoSuchProcess:
                continue
            parent = watched.get(seen.ppid)
            if parent is not None and pid != os.getpid():
                self._add(pid, parent)
                watched = {each.pid: each for each in self.alive}
            else:
                self._known.add(pid)
        self._end()

    def _end(self) -> None:
        """Processes that are not read, and have ended: those that are read say so themselves."""
        for each in self.alive:
            if not each.reading and not each.ended and not os.path.exists(f"/proc/{each.pid}/task"):
                each.end()

    def gaps(self) -> list[Gap]:
        """What could not be seen of them."""
        gaps = [gap for each in self.all for gap in each.gaps()]
        others = [each.name for each in self.all if each.without_python]
        if others:
            names = ", ".join(dict.fromkeys(others[:8]))
            gaps.append(
                Gap(
                    f"the stacks of {names}", f"{len(others)} of {len(self.all)} processes ran no Python when last seen"
                )
            )
        unseen = [each.name for each in self.all if each.unseen]
        if unseen:
            names = ", ".join(dict.fromkeys(unseen[:8]))
            gaps.append(
                Gap(
                    f"the stacks of {names}",
                    f"{len(unseen)} of {len(self.all)} processes ended, or the look did, before a Python was found in them",
                )
            )
        if self.missed:
            gaps.append(Gap(f"{self.missed} more processes", f"at most {MOST_PROCESSES} are sampled"))
        return gaps

    def over(self) -> bool:
        """Nobody is left."""
        return all(each.ended for each in self.alive)

    def close(self) -> None:
        for each in self.all:
            each.close()
