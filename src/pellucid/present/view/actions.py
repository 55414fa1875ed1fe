"""The looks that cost something and so are only made when a person asks for one: what each costs, whether it pauses, its command line.

A screen that offers one runs the very command that it shows, as a process of its own: it can be stopped, and what it takes is not taken
from the screen.
"""

from collections.abc import Callable
from typing import Literal

from msgspec import Struct

Name = Literal["why", "profile", "memory", "heap", "dump", "heap-diff", "output", "gc", "record"]
LEAST_S, MOST_S = 1.0, 86400.0


class Asked(Struct, frozen=True, forbid_unknown_fields=True):
    """What a person chose. `before` and `after` are the ids of two snapshots of a heap."""

    action: Name
    seconds: float = 10.0
    mode: Literal["wall", "cpu", "gil"] = "wall"
    pause: bool = True
    before: str = ""
    after: str = ""
    host: str = ""
    """The machine, "" for this one."""


class Action(Struct, frozen=True):
    """`words`: the command line without `pellucid`, of (pid, what was asked). `machine` are the words that a program adds to read the
    answer. `pauses` says for whom and how long, "" where nothing stands still.
    """

    title: str
    cost: str
    pauses: str
    words: Callable[[str, Asked], tuple[str, ...]]
    machine: tuple[str, ...] = ("--json",)
    timed: bool = False
    """It takes the `seconds` that were asked for."""
    seconds: float = 10.0
    """Where nothing else was chosen."""


def _heap(pid: str, asked: Asked) -> tuple[str, ...]:
    return ("heap", pid) if asked.pause else ("heap", pid, "--no-pause")


ACTIONS: dict[Name, Action] = {
    "why": Action(
        title="Watch it for two seconds",
        cost="watches for 2 s from outside: system calls, time, memory, descriptors",
        pauses="",
        words=lambda pid, _: ("why", pid),
    ),
    "profile": Action(
        title="Record where the time goes",
        cost="samples all threads 100 times a second from outside; its own cost is told with the result",
        pauses="",
        words=lambda pid, asked: ("profile", pid, "-d", f"{asked.seconds:g}", "--mode", asked.mode),
        machine=("--format", "pellucid"),
        timed=True,
    ),
    "memory": Action(
        title="Find out where the bytes are",
        cost="looks for 1 s, 3 s longer where memory grows; walks the heaps from outside",
        pauses="",
        words=lambda pid, _: ("memory", pid),
    ),
    "heap": Action(
        title="Take a snapshot of the heap",
        cost="copies its memory and reads every object in the copy; takes as much memory again meanwhile",
        pauses="stands still while its memory is copied; the answer says for how long",
        words=_heap,
    ),
    "dump": Action(
        title="Take a dump and find out who holds most",
        cost="it writes all its objects into a file, about as large as its heap, which is read then",
        pauses="stands still while it writes the dump",
        words=lambda pid, _: ("heap", pid),
    ),
    "heap-diff": Action(
        title="Compare two snapshots",
        cost="reads two saved snapshots; the process is not touched",
        pauses="",
        words=lambda *_: ("heap", "diff", "BEFORE", "AFTER"),
    ),
    "output": Action(
        seconds=30.0,
        title="Capture what it prints",
        cost="copies what it and its children write, at the end of each write",
        pauses="",
        words=lambda pid, asked: ("output", pid, "-d", f"{asked.seconds:g}", "--timestamps"),
        machine=(),
        timed=True,
    ),
    "gc": Action(
        seconds=3.0,
        title="Watch its collector",
        cost="reads its counters for some seconds",
        pauses="",
        words=lambda pid, asked: ("gc", pid, "-d", f"{asked.seconds:g}"),
        timed=True,
    ),
    "record": Action(
        seconds=60.0,
        title="Record it",
        cost="stacks ten times a second, numbers and findings, into a file of bounded size; the recorder tells what it takes",
        pauses="",
        words=lambda pid, asked: ("record", pid, "-d", f"{asked.seconds:g}"),
        machine=(),
        timed=True,
    ),
}


class Offer(Struct, frozen=True):
    """An action as a screen shows it before anybody has asked."""

    action: str
    title: str
    cost: str
    pauses: str
    shell: str
    timed: bool
    seconds: float


_JAVA: dict[str, str] = {
    "why": "the JVM is asked for its stacks: its threads stand still for some milliseconds",
    "profile": "the JVM is asked for its stacks again and again: its threads stand still for each; the answer says for how long",
    "heap": "the JVM counts its own objects, and stands still meanwhile",
}
"""What pauses a JVM, where it would not pause others."""


_JAVA_OTHERWISE: dict[str, tuple[str, str]] = {
    "heap": ("Count its objects", "asks the JVM for its own histogram, without a collection"),
    "profile": (
        "Record where the time goes",
        "asks the JVM for its stacks, again and again; what that cost is told with the result",
    ),
}
"""Title and cost, where they are others for a JVM."""
_HERE = frozenset({"heap-diff", "record"})
"""Not asked of another machine."""


def offers(pid: int, runtime: str, host: str = "") -> tuple[Offer, ...]:
    """All of them, for process `pid` of that machine."""
    jvm = runtime.startswith("JVM")
    java = _JAVA if jvm else {}
    otherwise = _JAVA_OTHERWISE if jvm else {}
    return tuple(
        Offer(
            name,
            *otherwise.get(name, (one.title, one.cost)),
            java.get(name, one.pauses),
            shell(pid, Asked(name, seconds=one.seconds, host=host)),
            one.timed,
            one.seconds,
        )
        for name, one in ACTIONS.items()
        if name != "heap-diff" and (jvm or name != "dump") and not (host and name in _HERE)
    )


def shell(pid: int, asked: Asked) -> str:
    """The command that does the same in a terminal."""
    there: tuple[str, ...] = ("--save", "FILE.hprof") if asked.action == "dump" else ()
    there += ("--host", asked.host) if asked.host else ()
    return " ".join(("pellucid", *ACTIONS[asked.action].words(str(pid), asked), *there))
