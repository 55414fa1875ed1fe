"""Who is at the other end of what the threads of several processes wait on: pipes, sockets, shared semaphores, locked files.

Each pass over all processes (/proc/*/fd, /proc/*/maps) is made at most once a round, and only where some thread's wait needs it.
"""

from collections.abc import Iterable

from pellucid.kernel import fds, maps, procfs
from pellucid.kernel.maps import Mapping
from pellucid.model import Gap, OpenFile, Wait
from pellucid.model.errors import LookError, os_words
from pellucid.observe.blocked import Seen

Key = tuple[str, int, int]
"""A shared semaphore: device, inode, offset in the file."""

_MAX_MAPS = 1 << 24


class Ends:
    """What was found so far; `ask` for more processes before a further round."""

    def __init__(self) -> None:
        self.gaps: list[Gap] = []
        self._pipes: dict[str, tuple[tuple[int, int], ...]] = {}
        self._wants: dict[tuple[int, int], str] = {}
        self._maps: dict[int, tuple[Mapping, ...]] = {}
        self._mappers: dict[tuple[str, int], tuple[int, ...]] = {}
        self.unread: dict[tuple[str, int], bool] = {}
        """Whether some process could not be asked whether it maps that file."""
        self.hidden_pipes = False

    def ask(self, seen: Iterable[Seen]) -> None:
        """Finds the holders of every pipe, and the mappers of every semaphore, that these processes wait on."""
        family = list(seen)
        pipes = {target for each in family for target in _pipes(each)} - self._pipes.keys()
        if pipes:
            found, gaps = fds.holders_and_gaps(pipes, "waits")
            self._pipes |= found
            self.gaps += gaps
            self.hidden_pipes = self.hidden_pipes or bool(gaps)
        files = {key[:2] for each in family for key in self.semaphores(each).values()} - self._mappers.keys()
        if files:
            self._scan(files)

    def opposite(self, each: Seen, fd: int, wants: str) -> tuple[int, ...] | None:
        """The pids that could write the pipe that is read, or read the one that is written; None where that is not known."""
        target = _target(each, fd)
        if target is None or target not in self._pipes or self.hidden_pipes:
            return None
        other = "read" if wants == "write" else "write"
        pids: dict[int, None] = {}
        for pid, number in self._pipes[target]:
            if self._direction(pid, number) in {other, "both"}:
                pids[pid] = None
        return tuple(pids)

    def _direction(self, pid: int, fd: int) -> str:
        if (pid, fd) not in self._wants:
            file = fds.open_file(pid, fd)
            flags = file.flags if isinstance(file, OpenFile) else ""
            found = "both" if not flags or "O_RDWR" in flags else "write" if "O_WRONLY" in flags else "read"
            self._wants[pid, fd] = found
        return self._wants[pid, fd]

    def key_of(self, pid: int, address: int) -> Key | None:
        """The shared semaphore that an address of `pid` is; None where its memory is the process's own."""
        for mapping in self._mappings(pid):
            if mapping.start <= address < mapping.end:
                if not mapping.of_file or "s" not in mapping.permissions:
                    return None
                return mapping.device, mapping.inode, mapping.offset + address - mapping.start
        return None

    def _mappings(self, pid: int) -> tuple[Mapping, ...]:
        if pid not in self._maps:
            try:
                self._maps[pid] = maps.read(pid, "waits")
            except LookError as error:
                self.gaps.append(Gap(f"the mappings of pid {pid}", error.said, error.remedy))
                self._maps[pid] = ()
        return self._maps[pid]

    def semaphores(self, each: Seen) -> dict[int, Key]:
        """Tid to the shared semaphore that the thread sleeps on."""
        found: dict[int, Key] = {}
        for tid, blocked in each.blocked.items():
            key = self.key_of(each.pid, blocked.semaphore) if blocked.semaphore is not None else None
            if key is not None:
                found[tid] = key
        return found

    def mappers(self, key: Key) -> tuple[int, ...]:
        """The pids that map the file of a semaphore."""
        return self._mappers.get(key[:2], ())

    def _scan(self, files: set[tuple[str, int]]) -> None:
        """One pass over /proc/*/maps for the inodes of `files`."""
        needles = {file: f" {file[1]} ".encode() for file in files}
        found: dict[tuple[str, int], list[int]] = {file: [] for file in files}
        refused: list[int] = []
        why = ""
        for pid in procfs.pids():
            try:
                text = procfs.read_file(f"/proc/{pid}/maps", _MAX_MAPS)
            except OSError as error:
                if not procfs.gone(error):
                    refused.append(pid)
                    why = os_words(error)
                continue
            for file, needle in needles.items():
                if needle in text:
                    found[file].append(pid)
        for file, pids in found.items():
            self._mappers[file] = tuple(pids)
            self.unread[file] = bool(refused)
        if refused:
            who = f"pid {refused[0]}" if len(refused) == 1 else f"{len(refused)} processes, among them pid {refused[0]}"
            self.gaps.append(Gap(f"whether {who} can release a shared semaphore", why, "sudo pellucid waits PID"))


def on_pipe(wait: Wait) -> bool:
    return any(one.kind in {"pipe", "fifo"} for one in wait.watched)


def _pipes(each: Seen) -> set[str]:
    return {
        target
        for wait in each.waits.values()
        for one in wait.watched
        if one.kind in {"pipe", "fifo"} and (target := _target(each, one.fd)) is not None
    }


def _target(each: Seen, fd: int) -> str | None:
    file = fds.open_file(each.pid, fd)
    if not isinstance(file, OpenFile) or file.inode is None or file.kind != "pipe":
        return None
    return f"pipe:[{file.inode}]"
