"""Who is at the other end of what the threads of several processes wait on: pipes, sockets, shared semaphores, locked files.

Each pass over all processes (/proc/*/fd, /proc/*/maps) is made at most once a round, and only where some thread's wait needs it.
"""

import os
from collections.abc import Iterable

from pellucid.kernel import fds, maps, procfs
from pellucid.kernel.maps import Mapping
from pellucid.model import Call, Gap, OpenFile, Wait
from pellucid.model.errors import LookError, os_words
from pellucid.observe.blocked import Seen, descendants

Key = tuple[str, int, int]
"""A shared semaphore: device, inode, offset in the file."""

_MAX_MAPS = 1 << 24
_MAX_DEPTH = 256
_FIONREAD = 0x541B  # include/uapi/asm-generic/ioctls.h


class Ends:
    """What was found so far; `ask` for more processes before a further round."""

    def __init__(self) -> None:
        self.gaps: list[Gap] = []
        self._pipes: dict[str, tuple[tuple[int, int], ...]] = {}
        self._wants: dict[tuple[int, int], str] = {}
        self._maps: dict[int, tuple[Mapping, ...]] = {}
        self._mappers: dict[tuple[str, int], tuple[int, ...]] = {}
        self._named: set[tuple[str, int]] = set()
        self._unread_maps: set[int] = set()
        self._unread_fds: set[int] = set()
        self._parents: dict[int, int] = {}
        self._pidfds: dict[tuple[int, int], int] = {}
        self._file_locks: dict[tuple[int, int], tuple[int, ...]] = {}

    def ask(self, seen: Iterable[Seen]) -> None:
        """Finds the holders of every pipe, and the mappers of every semaphore, that these processes wait on."""
        family = list(seen)
        pipes = {target for each in family for target in _pipes(each)} - self._pipes.keys()
        if pipes:
            self._pipes |= self._holders(pipes)
        files = {key[:2] for each in family for key in self.semaphores(each).values()} - self._mappers.keys()
        if files:
            self._scan(files)

    def opposite(self, each: Seen, fd: int, wants: str) -> tuple[int, ...] | None:
        """The pids that could write the pipe that is read, or read the one that is written; None where that is not known."""
        target = _target(each, fd)
        if target is None or target not in self._pipes:
            return None
        if self._relatives({pid for pid, _ in self._pipes[target]}, self._unread_fds):
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
                if not mapping.deleted:
                    self._named.add((mapping.device, mapping.inode))
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

    def has_file_lock(self, each: Seen, wait: Wait) -> tuple[int, ...]:
        """The pids that have the file locked which the thread waits to lock; empty where that is not known."""
        if wait.kind != "file-lock" or not wait.watched:
            return ()
        key = each.pid, wait.watched[0].fd
        if key not in self._file_locks:
            from pellucid.observe.locks import blocking  # only where some thread waits for a file lock

            try:
                found = blocking(*key, wait.call)
            except OSError as error:
                self.gaps.append(Gap(f"who has descriptor {key[1]} of pid {each.pid} locked", os_words(error)))
                found = ()
            self._file_locks[key] = tuple(dict.fromkeys(pid for lock in found for pid in lock.holders if pid > 0))
        return self._file_locks[key]

    def pid_behind(self, each: Seen, fd: int) -> int:
        """The process that a pidfd stands for (the Pid line of its fdinfo); 0 where it has ended or can't be told."""
        key = each.pid, fd
        if key not in self._pidfds:
            file = fds.open_file(each.pid, fd)
            told = file.detail.removeprefix("pid ") if isinstance(file, OpenFile) else ""
            self._pidfds[key] = int(told) if told.isdigit() else 0
        return self._pidfds[key]

    def library_at(self, pid: int, call: Call | None) -> str:
        """The name of the file whose code made the system call, `libgomp.so.1.0.0`; "" where that is not known."""
        at = call.instruction if call else 0
        found = next((one.path for one in self._mappings(pid) if one.start <= at < one.end), "") if at else ""
        return found.rpartition("/")[2]

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

    def may_map(self, key: Key) -> tuple[int, ...]:
        """Those, and while the file has a name their descendants too, which may be about to open it by that."""
        pids = self.mappers(key)
        if key[:2] not in self._named:
            return pids
        return tuple(dict.fromkeys((*pids, *(child for pid in pids for child in descendants(pid, _MAX_DEPTH)))))

    def _scan(self, files: set[tuple[str, int]]) -> None:
        """One pass over /proc/*/maps for the inodes of `files`."""
        needles = {file: f" {file[1]} ".encode() for file in files}
        found: dict[tuple[str, int], list[int]] = {file: [] for file in files}
        for pid in procfs.pids():
            try:
                text = procfs.read_file(f"/proc/{pid}/maps", _MAX_MAPS)
            except OSError as error:
                if not procfs.gone(error):
                    self._unread_maps.add(pid)
                continue
            for file, needle in needles.items():
                if needle in text:
                    found[file].append(pid)
        for file, pids in found.items():
            self._mappers[file] = tuple(pids)

    def hidden_mappers(self, key: Key) -> list[int]:
        """The processes that could have inherited the semaphore and have kept their mappings from us: a gap, where there are any."""
        hidden = self._relatives(set(self.mappers(key)), self._unread_maps)
        if hidden:
            what = f"whether {_pids(hidden)} can release a shared semaphore"
            gap = Gap(what, "its mappings may not be read (/proc/PID/maps)", "sudo pellucid waits PID")
            self.gaps += () if gap in self.gaps else (gap,)
        return hidden

    def _holders(self, targets: set[str]) -> dict[str, tuple[tuple[int, int], ...]]:
        """(pid, descriptor) of whoever holds each of `targets`: one pass over /proc/*/fd."""
        found: dict[str, list[tuple[int, int]]] = {target: [] for target in targets}
        for pid in procfs.pids():
            try:
                directory = os.open(f"/proc/{pid}/fd", os.O_RDONLY | os.O_DIRECTORY)
            except OSError as error:
                if not procfs.gone(error):
                    self._unread_fds.add(pid)
                continue
            try:
                for name in os.listdir(directory):
                    target = _link(name, directory)
                    if target in found:
                        found[target].append((pid, int(name)))
            except OSError:
                continue  # it ended meanwhile
            finally:
                os.close(directory)
        return {target: tuple(held) for target, held in found.items()}

    def _relatives(self, known: set[int], hidden: set[int]) -> list[int]:
        """Those of `hidden` that may have what `known` have: a pipe without a name, or an unlinked semaphore, is inherited.

        So it is a descendant of one who has it, an ancestor that hides what it has, or a descendant of such an ancestor. Pid 1 starts
        services and keeps nothing of theirs.
        """
        roots = set(known)
        for pid in known:
            roots |= {ancestor for ancestor in self._ancestors(pid) if ancestor in hidden and ancestor > 1}
        return sorted(pid for pid in hidden if pid > 1 and roots & {pid, *self._ancestors(pid)})

    def _ancestors(self, pid: int) -> list[int]:
        found: list[int] = []
        while pid > 1 and len(found) < _MAX_DEPTH:
            if pid not in self._parents:
                try:
                    self._parents[pid] = procfs.stat(pid).ppid
                except LookError:
                    self._parents[pid] = 0
            pid = self._parents[pid]
            found.append(pid)
        return found


def unread_bytes(pid: int, fd: int) -> int | None:
    """How many bytes wait in the pipe whose reading end is `fd` of `pid`; None where that can't be asked.

    The pipe is opened once more for reading, for microseconds (proc_pid_fd(5)), and FIONREAD takes nothing out of it (pipe(7)).
    """
    import fcntl

    try:
        opened = os.open(f"/proc/{pid}/fd/{fd}", os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        return int.from_bytes(fcntl.ioctl(opened, _FIONREAD, bytes(4)), "little")
    except OSError:
        return None
    finally:
        os.close(opened)


def _link(name: str, directory: int) -> str:
    try:
        return os.readlink(name, dir_fd=directory)
    except OSError:  # closed meanwhile
        return ""


def _pids(pids: list[int]) -> str:
    return f"pid {pids[0]}" if len(pids) == 1 else f"{len(pids)} processes, among them pid {pids[0]},"


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
