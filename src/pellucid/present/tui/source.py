"""Where the terminal's values come from: this machine, looked at as `present.view` does it; other machines by their agents."""

from typing import Protocol

from pellucid.present.view import deep as closer
from pellucid.present.view.board import Board
from pellucid.present.view.deep import Deep
from pellucid.present.view.memory_live import MemoryLive, Point
from pellucid.present.view.remote import Remote
from pellucid.present.view.top import Line, Sort, Top, line, top


class Source(Protocol):
    """What a screen asks for. Everything but `begin` and `end` may take a while, and is called in a thread."""

    hosts: tuple[str, ...]

    def begin(self) -> None: ...

    def end(self) -> None: ...

    def top(self, pattern: str, sort: Sort) -> Top: ...

    def line(self, pid: int) -> Line | None: ...

    def deep(self, pid: int) -> Deep: ...

    def memory(self, pid: int) -> tuple[Point, ...]: ...


class Live:
    """The real one."""

    def __init__(self, hosts: tuple[str, ...] = ()) -> None:
        self.hosts = hosts
        self._board = Board()
        self._remotes = tuple(map(Remote, hosts))
        self._memory: MemoryLive | None = None

    def begin(self) -> None:
        self._board.scan.start()
        for remote in self._remotes:
            remote.start()

    def end(self) -> None:
        self._board.close()
        for remote in self._remotes:
            remote.stop()
        if self._memory is not None:
            self._memory.close()

    def top(self, pattern: str, sort: Sort) -> Top:
        """The list, read anew."""
        self._board.look()
        return top(self._board, self._remotes, pattern, sort)

    def line(self, pid: int) -> Line | None:
        """Its row of the list, read anew; None where it has ended."""
        row = self._board.look().get(pid)
        return line(row) if row is not None else None

    def deep(self, pid: int) -> Deep:
        """A quick look at one process: 0.1 s. A JVM is not asked, which would stop it."""
        return closer.look(pid, ask=False)

    def memory(self, pid: int) -> tuple[Point, ...]:
        """Its memory so far, with one more point; of another process than before from the beginning."""
        if self._memory is None or self._memory.pid != pid:
            if self._memory is not None:
                self._memory.close()
            row = self._board.rows.get(pid)
            self._memory = MemoryLive(pid, row.runtime if row else "")
        self._memory.look()
        return tuple(self._memory.points)
