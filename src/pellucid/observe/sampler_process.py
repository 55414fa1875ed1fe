"""One sampled process: attached while it starts, sampled at each tick, attached again when it becomes another program."""

import os
import time
from errno import ESRCH

from pellucid.kernel import procfs
from pellucid.kernel.kcmp import share_memory
from pellucid.kernel.memory import Memory, Unreadable
from pellucid.model import Gap
from pellucid.model.errors import LookError, NoSuchProcess, NotPermitted, NotUnderstood
from pellucid.model.profile import Mode
from pellucid.observe.sampler_states import States
from pellucid.observe.sampler_timeline import Timeline
from pellucid.runtimes import cpython
from pellucid.runtimes.cpython import check
from pellucid.runtimes.cpython.chains import MAX_CHAIN
from pellucid.runtimes.cpython.debug_offsets import Garbled
from pellucid.runtimes.cpython.process import CPython
from pellucid.runtimes.cpython.sampled import Sampled
from pellucid.runtimes.cpython.threads import ThreadState
from pellucid.runtimes.jvm.recognise import is_jvm

WINDOW_S = 0.05
"""Over so much time CPU time is spread: the kernel's number of a running thread is up to 10 ms old."""
_ALL_S = 1.0
"""So often the CPU time of threads is asked that were asleep whenever they were seen."""
_STARTED_S = 2.0
"""A program that has no CPython after so long is not one, until it calls execve."""
_LEAST_PAUSE_S = 0.001
_PAUSE_OF_AGE = 1 / 8
_BORROWING_S = 0.2
_MOST_FAILED = 10
"""Ticks in a row that failed: then it is attached anew."""


class Program:
    """What a process was, until it became something else: its runtime and the threads that were seen."""

    def __init__(self, command: str, sampled: Sampled) -> None:
        self.command = command
        self.sampled = sampled
        self.timelines: list[Timeline] = []


class Watched:
    """A process that is followed. `programs`: what it was, in order of time. `refusal`: why its stacks can't be read."""

    def __init__(
        self, pid: int, mode: Mode, interval_ns: int, like: "Watched | None" = None, *, not_yet: bytes = b""
    ) -> None:
        """`like`: the process that may have forked it; `not_yet`: the command line that it has before its execve. Raises NoSuchProcess."""
        self.pid = pid
        self.mode = mode
        self.interval_ns = interval_ns
        seen = procfs.stat(pid)
        self.name, self.start_ticks = seen.name, seen.start_ticks
        self._borrows_from = seen.ppid
        """Whose memory it may have until its execve, 0 once it has its own."""
        self.programs: list[Program] = []
        self.refusal: LookError | None = None
        self.python_seen = self.java = False
        self.ended = False
        self.ticks = self.asked = self.failed = self.lost_threads = self.cut = self.unlisted = 0
        self._like = like
        self._not_yet = not_yet
        self._failing = 0
        self._program: Program | None = None
        self._states: States | None = None
        self._by_state: dict[ThreadState, Timeline] = {}
        self._by_tid: dict[int, Timeline] = {}
        self._by_address: dict[int, ThreadState] = {}
        self._threads: tuple[ThreadState, ...] = ()
        self._holders: frozenset[int] = frozenset()
        self._new = False
        self._begun = self.next_attach = time.monotonic()
        self._window_at = self._all_at = 0.0
        self._cpu_s = 0.0

    @property
    def reading(self) -> bool:
        """It is attached, and takes part in ticks."""
        return self._program is not None

    @property
    def without_python(self) -> bool:
        """It runs something else now."""
        return isinstance(self.refusal, NotUnderstood) and not self.refusal.found and not self.java

    @property
    def unseen(self) -> bool:
        """It was never attached, and nothing is known that speaks against it."""
        return not self.python_seen and self.refusal is None and not self.java

    @property
    def threads(self) -> int:
        return len(self._by_state)

    @property
    def all_slept(self) -> bool:
        """At the last tick."""
        return self._states is not None and self._states.all_slept

    @property
    def unnamed(self) -> bool:
        """Threads have come since the last `refresh`."""
        return self._new

    def attach(self) -> None:
        """Try to; where that fails, `next_attach` says when to try again, or `refusal` why there is no use."""
        now = time.monotonic()
        age = now - self._begun
        if self._not_yet:
            if command_line(self.pid) == self._not_yet:
                self._begun, self.next_attach = now, now + _LEAST_PAUSE_S
                return
            self._not_yet = b""
        if self._borrows():
            self.next_attach = now + max(age * _PAUSE_OF_AGE, _LEAST_PAUSE_S)
            return
        try:
            python = self._forked() or cpython.attach(self.pid, "profile")
        except NotUnderstood as error:
            self._rename()
            ending = not os.path.exists(f"/proc/{self.pid}/exe")
            if age > _STARTED_S or (ending and not self.python_seen):
                self.refusal = error.as_value()
            if not self.java and not ending and (self.refusal is not None or self.name == "java"):
                self.java = is_jvm(self.pid)
            self.next_attach = now + max(age * _PAUSE_OF_AGE, _LEAST_PAUSE_S)
            return
        except NoSuchProcess:
            self.end()
            return
        except NotPermitted as error:
            self.refusal, self.next_attach = error.as_value(), float("inf")
            return
        self.refusal = None
        self.python_seen = True
        self.next_attach = float("inf")
        self._program = Program(_command(self.pid), Sampled(python, 1e9 / self.interval_ns))
        self.programs.append(self._program)
        self._states = States(self.pid, self._program.sampled.in_gil)
        self._window_at = self._all_at = now
        self._cpu_s = self._states.process_cpu_s()
        self._new = True

    def _borrows(self) -> bool:
        """Whether it still has its parent's memory, as a child of vfork(2) until its execve: what is opened now would stay the parent's."""
        if not self._borrows_from:
            return False
        shares = share_memory(self.pid, self._borrows_from)
        if shares is None:  # then as long as such a child usually takes
            try:
                forked = bool(procfs.stat(self.pid).flags & procfs.NOT_EXECUTED)
            except NoSuchProcess:
                return False
            shares = forked and time.monotonic() - self._begun < _BORROWING_S
        if not shares:
            self._borrows_from = 0
            self._begun = time.monotonic()
        return shares

    def _rename(self) -> None:
        try:
            self.name = procfs.stat(self.pid).name
        except NoSuchProcess:
            return  # what it was called before is what it was called

    def _forked(self) -> CPython | None:
        """The parent's interpreter, as a child of fork has it at the same place; None where it is another program."""
        like, self._like = self._like, None
        if like is None or not like.programs:
            return None
        parent = like.programs[-1].sampled.python
        try:
            if os.readlink(f"/proc/{self.pid}/exe") != os.readlink(f"/proc/{like.pid}/exe"):
                return None
        except OSError:
            return None
        memory = Memory.open(self.pid, "profile")
        try:
            check.fits(memory, parent.layout, parent.runtime)
        except (Unreadable, Garbled):
            memory.close()
            return None
        return CPython(memory, parent.name, parent.path, parent.runtime, parent.layout)

    def tick(self, now_ns: int) -> None:
        """One sample of all threads."""
        if self._program is not None and self._states is not None:
            self._sample(self._program, self._states, self._states.process_cpu_s(), now_ns)

    def tick_or_rest(self, now_ns: int) -> bool:
        """As `tick`; True where nothing has run in it since the last one, so that each thread is where it was, and nothing is read again.

        All its threads slept, and its CPU clock stands still. One that has begun to run in the last moments is seen at the next tick.
        """
        program, states = self._program, self._states
        if program is None or states is None:
            return False
        cpu_s = states.process_cpu_s()
        if states.rested(cpu_s):
            self.asked += 1
            self.ticks += 1
            return True
        self._sample(program, states, cpu_s, now_ns)
        return False

    def _sample(self, program: Program, states: States, cpu_s: float, now_ns: int) -> None:
        self.asked += 1
        number = self.ticks
        try:
            tick = program.sampled.tick()
        except Unreadable as gone:
            self._unreadable(gone)
            return
        self._failing = 0
        if tick.threads is not self._threads:
            self._census(tick.threads, number, now_ns)
        for thread in tick.moved:
            timeline = self._by_state.get(thread)
            if timeline is None or timeline.inner_tid != thread.tid:
                timeline = self._begin(thread, number, now_ns)
                if timeline is None:
                    continue
            node, moving = thread.walked.node, thread.walked.moving
            self.cut += thread.walked.cut
            doing = states.threads.get(timeline.tid)
            if doing is not None:
                doing.dirty = True
            if node != timeline.node or moving != timeline.moving:
                timeline.close(number, now_ns)
                timeline.node, timeline.moving = node, moving
        if tick.holders != self._holders:
            self._hold(tick.holders, number, now_ns)
        self._look_at_states(states, cpu_s, number, now_ns)
        self.ticks = number + 1
        self.lost_threads += tick.ended
        self.unlisted += tick.unlisted

    def take(self, now_ns: int) -> list[tuple[Program, Timeline]]:
        """All that was sampled since the last call, for a sampler that goes on for days: to be cleared by the caller. What has ended is forgotten."""
        for timeline in self._by_state.values():
            timeline.close(self.ticks, now_ns)
        taken = [(program, timeline) for program in self.programs for timeline in program.timelines]
        living = set(self._by_state.values())
        for program in self.programs:
            program.timelines = [timeline for timeline in program.timelines if timeline in living]
        return taken

    def renew(self) -> None:
        """Begin anew with an empty memory for stacks: after `take`, when there are too many of them."""
        self._leave()
        for program in self.programs:
            program.sampled.close()
        self.programs = []
        self._begun = self.next_attach = time.monotonic()

    @property
    def stacks(self) -> int:
        """Different stacks that are kept in memory."""
        return sum(len(program.sampled.trie) for program in self.programs)

    def _look_at_states(self, states: States, cpu_s: float, number: int, now_ns: int) -> None:
        for doing in states.tick(cpu_s):
            timeline = self._by_tid.get(doing.tid)
            if timeline is not None:
                timeline.close(number, now_ns)
                timeline.state, timeline.asleep = doing.state, doing.instruction

    def _unreadable(self, gone: Unreadable) -> None:
        """It ended, or runs another program; or it could not be read this once."""
        self._failing += 1
        if gone.errno != ESRCH and self._failing < _MOST_FAILED:
            self.failed += 1
            return
        seen: procfs.Stat | None
        try:
            seen = procfs.stat(self.pid)
        except NoSuchProcess:
            seen = None
        if seen is None or seen.start_ticks != self.start_ticks or (seen.letter in "ZX" and seen.threads <= 1):
            self.asked -= 1  # there was nobody to ask
            self.end()
            return
        self.failed += 1
        self._leave()
        self._begun = self.next_attach = time.monotonic()

    def _census(self, threads: tuple[ThreadState, ...], number: int, now_ns: int) -> None:
        there = set(threads)
        for thread in [thread for thread in self._by_state if thread not in there]:
            self._finish(thread, number, now_ns)
        self._threads = threads
        self._by_address = {thread.state: thread for thread in threads}
        self._new = True

    def _begin(self, thread: ThreadState, number: int, now_ns: int) -> Timeline | None:
        """A thread that is new, or another one in the same place."""
        self._finish(thread, number, now_ns)
        program, states = self._program, self._states
        tid = program.sampled.tid(thread) if program else None
        if tid is None or program is None or states is None:
            return None
        timeline = Timeline(tid, self.mode, self.interval_ns, number, now_ns)
        timeline.name, timeline.inner_tid = program.sampled.name(thread, tid), thread.tid
        program.timelines.append(timeline)
        self._by_state[thread] = timeline
        self._by_tid[tid] = timeline
        doing = states.watch(tid) if tid not in states.threads else states.threads[tid]
        doing.holds = thread.state in self._holders
        timeline.holding = doing.holds and self.mode == "gil"
        if self.mode == "cpu":
            states.used_ns(doing)
        self._new = True
        return timeline

    def _finish(self, thread: ThreadState, number: int, now_ns: int) -> None:
        timeline = self._by_state.pop(thread, None)
        if timeline is None:
            return
        timeline.close(number, now_ns)
        if self.mode == "cpu":
            timeline.used(None)
        if self._by_tid.get(timeline.tid) is timeline:
            del self._by_tid[timeline.tid]
            if self._states is not None and timeline.tid in self._states.threads:
                self._states.forget(self._states.threads[timeline.tid])

    def _hold(self, holders: frozenset[int], number: int, now_ns: int) -> None:
        """The GIL has passed on."""
        for address in holders ^ self._holders:
            thread = self._by_address.get(address)
            timeline = self._by_state.get(thread) if thread is not None else None
            if timeline is None:
                continue
            if self.mode == "gil":
                timeline.close(number, now_ns)
                timeline.holding = address in holders
            doing = self._states.threads.get(timeline.tid) if self._states is not None else None
            if doing is not None:
                doing.holds = address in holders
        self._holders = holders

    def refresh(self, now_ns: int) -> None:
        """Between ticks: names, code objects, and the CPU time of threads."""
        program = self._program
        if program is None:
            return
        try:
            if program.sampled.refresh(new=self._new):
                self._new = False
                for thread, timeline in self._by_state.items():
                    timeline.name = program.sampled.name(thread, timeline.tid) or timeline.name
        except Unreadable as gone:
            self._unreadable(gone)
            return
        if self.mode == "cpu" and time.monotonic() - self._window_at > WINDOW_S:
            self._window(now_ns)

    def asleep_at(self) -> set[int]:
        """The addresses of the instructions that its threads sleep at."""
        return {each.asleep for each in self._by_state.values() if each.asleep}

    def _window(self, now_ns: int) -> None:
        """Spread the CPU time that was used since the last window over the samples in it."""
        states = self._states
        if states is None:
            return
        now = time.monotonic()
        self._window_at = now
        every = now - self._all_at > _ALL_S
        if every:
            self._all_at = now
        cpu_s = states.process_cpu_s()
        used_ns, self._cpu_s = round((cpu_s - self._cpu_s) * 1e9), cpu_s
        for timeline in self._by_state.values():
            timeline.close(self.ticks, now_ns)
            doing = states.threads.get(timeline.tid)
            if doing is None:
                continue
            if len(self._by_state) == 1:
                timeline.used(used_ns)
            elif every or len(timeline.samples) > timeline.window:
                timeline.used(states.used_ns(doing))

    def _leave(self) -> None:
        """Let go of what it was; the samples stay."""
        now_ns = 0
        for thread in list(self._by_state):
            self._finish(thread, self.ticks, now_ns)
        if self._states is not None:
            self._states.close()
            self._states = None
        self._threads, self._holders = (), frozenset()
        self._program = None

    def end(self) -> None:
        """It has ended, or is not looked at any longer."""
        if self.reading and self.mode == "cpu" and not self.ended:
            self._window(0)
        self._leave()
        self.ended = True
        self.next_attach = float("inf")

    def close(self) -> None:
        self.end()
        for program in self.programs:
            program.sampled.close()

    def gaps(self) -> list[Gap]:
        found = []
        who = f"pid {self.pid}"
        if self.java:
            said = "it is a JVM, which has to stop its threads to tell them, and is left alone beside a Python"
            found.append(Gap(f"the stacks of {self.name} ({who})", said, f"pellucid profile {self.pid}"))
        elif self.refusal is not None and not self.without_python:
            found.append(Gap(f"the stacks of {who}", self.refusal.said, self.refusal.remedy))
        left_out = sum(program.sampled.trie.left_out for program in self.programs)
        if left_out:
            found.append(Gap(f"the innermost frames of {left_out} stacks of {who}", "it had too many different stacks"))
        if self.cut:
            found.append(
                Gap(f"the outer frames of {self.cut} stacks of {who}", f"they had more than {MAX_CHAIN} frames")
            )
        if self.unlisted:
            found.append(
                Gap(
                    f"some threads of {who} at {self.unlisted} ticks",
                    "threads came and went faster than their list could be followed",
                )
            )
        return found


def command_line(pid: int) -> bytes:
    """As the kernel has it now, b"" when it has ended."""
    try:
        return procfs.read_file(f"/proc/{pid}/cmdline", procfs.MAX_COMMAND)
    except OSError:
        return b""


def _command(pid: int) -> str:
    """Its command line with secrets hidden, "" when it has ended."""
    try:
        process = procfs.process(pid)
    except LookError:
        return ""
    return " ".join(process.command) or process.name
