"""The processes that are followed: who they are, where they stand, and whether their Python lines can be read.

A new program has no interpreter yet: the loader has to map it, and CPython to make its first thread. So it is looked at again
and again, at once and then ever more rarely, until there is one; the tracer walks no stack before. Children of fork have the
same interpreter at the same place, and need no look.
"""

import os
import time
from contextlib import suppress
from functools import lru_cache
from typing import Protocol

from pellucid.kernel import fds, procfs
from pellucid.kernel.memory import Memory
from pellucid.kernel.stack_layout import StackLayout
from pellucid.kernel.traced import CodeTold, Executed, Exited, Forked, StackTold
from pellucid.model import Frame, Gap
from pellucid.model.errors import LookError, NoSuchProcess, NotUnderstood
from pellucid.model.syscalls import Traced
from pellucid.runtimes.cpython.traced import Build, Naming, build_of, fits

_LEAST_PAUSE_S = 0.0005
_PAUSE_OF_AGE = 1 / 8
"""A program is looked at again after an eighth of its age: CPython is seen 2 ms after it was mapped when that took 16 ms."""
_LAST_LOOK_S = 10.0
"""A program that has no CPython after so long is not asked any more."""
_NAMED_LOOKS_S = 0.05
_STARTED_S = 2.0
"""A CPython that has no fitting interpreter after so long never will."""


class Follows(Protocol):
    """The part of a tracer that knows processes.

    `most_pause_s`: how long a new program that has no interpreter yet may be left before the next look at it.
    """

    most_pause_s: float

    def follow(self, pid: int, *, waits: bool = False) -> None: ...

    def understand(self, pid: int, layout: StackLayout | None, namespace: os.stat_result | None = None) -> None: ...

    def forget(self, pid: int) -> None: ...


class Known:
    """One followed process. `build` is its CPython; `checked` once it was seen to fit its table.

    `told`: its command line could be read; a process may end before that. `refusal`: why its Python lines can't be read.
    """

    __slots__ = (
        "begun",
        "build",
        "checked",
        "command",
        "cwd",
        "ended",
        "memory",
        "next_look",
        "pid",
        "ppid",
        "refusal",
        "told",
    )

    def __init__(self, pid: int, ppid: int, command: tuple[str, ...], cwd: str | None) -> None:
        self.pid = pid
        self.ppid = ppid
        self.command = command
        self.cwd = cwd
        self.ended = False
        self.told = True
        self.build: Build | None = None
        self.memory: Memory | None = None
        self.checked = False
        self.refusal = ""
        self.begun = self.next_look = time.monotonic()

    @property
    def program(self) -> str:
        """`python app.py`, `gcc`: enough to know it by."""
        return program(self.command)

    def new_program(self) -> None:
        """Its memory is another program's now."""
        self.forget_python()
        self.begun = self.next_look = time.monotonic()

    def forget_python(self) -> None:
        self.build = None
        self.refusal = ""
        self.checked = False
        if self.memory is not None:
            self.memory.close()
            self.memory = None


class Processes:
    """All of them, by pid."""

    def __init__(self, tracer: Follows) -> None:
        self._tracer = tracer
        self.known: dict[int, Known] = {}
        self.naming = Naming()
        self._stacks: dict[int, StackTold] = {}
        self._frames: dict[int, tuple[Frame, ...]] = {}
        self._lines: dict[int, Frame | None] = {}
        self._lingering: list[Known] = []

    def begin(self, pid: int, ppid: int, command: tuple[str, ...] | None = None, *, waits: bool = False) -> None:
        """Follow a process that is there. Raises NoSuchProcess; OSError where the tracer can't."""
        known = Known(pid, ppid, procfs.command(pid) if command is None else command, directory(pid))
        if waits:
            known.next_look = float("inf")  # it is not the command yet
        self.known[pid] = known
        self._tracer.follow(pid, waits=waits)

    def forked(self, told: Forked) -> None:
        parent = self.known.get(told.pid)
        child = Known(told.child, told.pid, parent.command if parent else (), parent.cwd if parent else None)
        if parent is not None:
            child.build, child.checked = parent.build, parent.checked
            child.next_look = float("inf") if parent.build else parent.next_look
        self.known[told.child] = child

    def executed(self, told: Executed) -> None:
        """Another program; also the first news of a process that was awaited in our pid namespace."""
        known = self.known.get(told.pid)
        if known is None:
            known = self.known[told.pid] = Known(told.pid, 0, (), directory(told.pid))
        known.new_program()
        known.told = False
        with suppress(LookError):
            command = procfs.command(told.pid)
            if command:
                known.command, known.told = command, True
        self._look(known)

    def exited(self, told: Exited) -> None:
        """Its first thread has ended; the process lives on while others do."""
        known = self.known.get(told.pid)
        if known is not None:
            self._lingering.append(known)
            self._end()

    def _end(self) -> None:
        for known in [known for known in self._lingering if not lives(known.pid)]:
            self._lingering.remove(known)
            known.ended = True
            if known.memory is not None:
                known.memory.close()
                known.memory = None
            self._tracer.forget(known.pid)

    def named(self, pid: int, path: str) -> None:
        """An execve of `path` has worked: what the process is called, where /proc could not be asked in time."""
        known = self.known.get(pid)
        if known is not None and not known.told:
            known.command = (path,)

    def pause(self) -> float | None:
        """Seconds until some program has to be looked at again; None when none has."""
        due = min((each.next_look for each in self.known.values() if not each.ended), default=float("inf"))
        return None if due == float("inf") else max(0.0, due - time.monotonic())

    def look(self) -> None:
        """Look at the programs that are due."""
        self._end()
        now = time.monotonic()
        for known in list(self.known.values()):
            if not known.ended and known.next_look <= now:
                self._look(known)

    def _look(self, known: Known) -> None:
        now = time.monotonic()
        age = now - known.begun
        try:
            if known.memory is None:
                known.memory = Memory.open(known.pid, "syscalls")
            if known.build is None:
                known.build = build_of(known.memory, named=age < _NAMED_LOOKS_S)
                if known.build is not None:
                    self._tracer.understand(known.pid, known.build.stacks, os.stat(f"/proc/{known.pid}/ns/pid"))
            if known.build is not None:
                self._check(known, age)
        except NotUnderstood as error:
            if error.found:  # else it is a zombie, which has nothing to read
                known.refusal = error.said
            if age > _STARTED_S or not lives(known.pid):
                self._refused(known, error)
                return
            # Else its pages may still be on their way: the loader maps a library as a whole, and then its data where they belong.
        except LookError as error:
            self._refused(known, error)
            return
        except OSError:
            known.next_look = float("inf")  # it has ended
            return
        if known.checked or (known.build is None and age > _LAST_LOOK_S):
            known.next_look = float("inf")
        else:
            known.next_look = now + min(max(age * _PAUSE_OF_AGE, _LEAST_PAUSE_S), self._tracer.most_pause_s)

    def _refused(self, known: Known, error: LookError) -> None:
        known.next_look = float("inf")
        if lives(known.pid) and not isinstance(error, NoSuchProcess):  # else it has ended, and makes no more calls
            self._give_up(known, error.said)

    def _check(self, known: Known, age: float) -> None:
        assert known.build is not None
        assert known.memory is not None
        wrong = fits(known.memory, known.build)
        known.checked = not wrong
        if wrong and age > _STARTED_S:
            self._give_up(known, f"it runs {known.build.name}, but not as its table says: {wrong}")

    def _give_up(self, known: Known, why: str) -> None:
        known.forget_python()
        known.next_look = float("inf")
        known.refusal = why
        self._tracer.understand(known.pid, None)

    def code(self, told: CodeTold) -> None:
        known = self.known.get(told.pid)
        if known is not None and known.build is not None:
            self.naming.told(told, known.build, self._memory(known))

    def _memory(self, known: Known) -> Memory | None:
        if known.memory is None and not known.ended:
            try:
                known.memory = Memory.open(known.pid, "syscalls")
            except LookError:
                return None  # it has ended
        return known.memory

    def stack(self, told: StackTold) -> None:
        self._stacks[told.stack] = told

    def frames(self, stack: int) -> tuple[Frame, ...]:
        """The frames of a stack, innermost first; empty for none, or where it was lost."""
        found = self._frames.get(stack)
        if found is None:
            told = self._stacks.get(stack)
            found = self._frames[stack] = self.naming.frames(told) if told else ()
        return found

    def line(self, stack: int) -> Frame | None:
        """The innermost frame of the program's own code, else of a package, else the innermost of all; None without a stack."""
        if stack not in self._lines:
            frames = self.frames(stack)
            chosen = [frame for frame in frames if frame.own] or [frame for frame in frames if frame.packaged] or frames
            self._lines[stack] = chosen[0] if chosen else None
        return self._lines[stack]

    def gaps(self) -> list[Gap]:
        """The programs whose Python lines could not be read, each told once."""
        refused = {each.program: each for each in reversed(self.known.values()) if each.refusal and each.build is None}
        return [Gap(f"the Python lines of {name}", f"pid {each.pid}: {each.refusal}") for name, each in refused.items()]

    def traced(self) -> tuple[Traced, ...]:
        return tuple(
            Traced(each.pid, each.ppid, each.command, each.build.name if each.build else None, each.ended)
            for each in self.known.values()
        )

    def close(self) -> None:
        for each in self.known.values():
            if each.memory is not None:
                each.memory.close()
                each.memory = None


@lru_cache(256)
def program(command: tuple[str, ...]) -> str:
    """`python app.py` for an interpreter and its script, else the name of the program."""
    if not command:
        return "?"
    name = command[0].rpartition("/")[2]
    script = next((word for word in command[1:] if not word.startswith("-")), "")
    return f"{name} {script.rpartition('/')[2]}" if name.startswith("python") and script else name


def directory(pid: int) -> str | None:
    """Its working directory; None when that can't be read, or any more."""
    try:
        return os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        return None


def descriptor(pid: int, fd: int) -> str:
    """What a descriptor is now, in a word or a path; "" when it can't be told any more."""
    found = fds.open_file(pid, fd)
    if isinstance(found, Gap):
        return ""
    return found.path


def lives(pid: int) -> bool:
    """There is such a process, with a thread that can make calls: not a zombie that waits for its parent."""
    try:
        seen = procfs.stat(pid)
    except LookError:
        return False
    return seen.letter not in "ZX" or seen.threads > 1
