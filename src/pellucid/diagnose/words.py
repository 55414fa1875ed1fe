"""The plain words that findings are made of: durations, places in the code, what a thread does, whether it is idle.

Idle is not stuck: a worker in accept(), in an event loop's select or in a queue's get waits for work. It is told by the
innermost frames, which must themselves be the library's wait: an executor's `_worker` frame somewhere below a call of the
program proves nothing.
"""

from collections.abc import Sequence

from pellucid.diagnose.idle_loops import CALLS_ITSELF, DEEP_LOOPS, LOOPS, RETRIES, RUNS_WORK
from pellucid.model import Frame, Process, Thread, Wait
from pellucid.model.thread import JDK

_MINUTE, _HOUR, _DAY = 60, 3600, 86400

_TERMINALS = ("/dev/pts/", "/dev/tty", "/dev/console")
_JOINS: tuple[tuple[str, str], ...] = (
    ("java/lang/Thread.java", "join"),
    ("threading.py", "_shutdown"),
    ("threading.py", "join"),
    ("threading.py", "_wait_for_tstate_lock"),
    ("concurrent/futures/thread.py", "_python_exit"),
)
_JAVA_INNER = 12  # Unsafe.park, ..., ConditionObject.await below LinkedBlockingQueue.take; the loop ends at the program's own code
_INNER = 4  # a wait of the library is at most so deep: Condition.wait below Queue.get, select below _run_once


def duration(seconds: float) -> str:
    """`0.3 s`, `41 s`, `2 min 5 s`, `3 h 12 min`, `2 d 4 h`."""
    if seconds < 10:
        return f"{max(seconds, 0):.1f} s"
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE} s"
    if whole < _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE} min"
    return f"{whole // _DAY} d {whole % _DAY // _HOUR} h"


def place(frames: Sequence[Frame]) -> str:
    """`client.py:12 in fetch`: the innermost frame of the program; the innermost of all where it has none there. "" without frames."""
    if not frames:
        return ""
    frame = next((frame for frame in frames if frame.own), frames[0])
    return f"{_file(frame)}:{frame.line if frame.line is not None else '?'} in {frame.qualname or frame.function}"


def path(frames: Sequence[Frame], most: int = 4) -> str:
    """`fetch (client.py:12) ← main (client.py:20)`: the program's own frames, innermost first, at most `most`."""
    mine = [frame for frame in frames if frame.own] or list(frames)
    more = f" ← {len(mine) - most} more" if len(mine) > most else ""
    return " ← ".join(str(frame) for frame in mine[:most]) + more


def idle(thread: Thread) -> str | None:
    """What an idle thread waits for, `connections on 127.0.0.1:8000`; None if it works or waits for something that owes an answer."""
    wait = thread.wait
    if wait is None or thread.moving:
        return None
    if wait.watched and all(one.socket is not None and one.socket.state == "LISTEN" for one in wait.watched):
        return "connections on " + ", ".join(sorted({one.socket.local for one in wait.watched if one.socket}))
    if wait.watched and all(one.wants == "read" and one.what.startswith(_TERMINALS) for one in wait.watched):
        return f"input at its terminal ({wait.watched[0].what})"
    if any(one.wants == "write" for one in wait.watched):
        return None
    if (deep := _deep(thread)) is not None:
        return deep
    if wait.kind not in {"lock", "poll", "pipe", "socket", "sleep"}:
        return None
    java = bool(thread.frames) and thread.frames[0].file.startswith(JDK)
    if thread.frames and _is_one_of(thread.frames[0], CALLS_ITSELF):
        return None
    for frame in thread.frames[: _JAVA_INNER if java else _INNER]:
        if _is_one_of(frame, RUNS_WORK):
            break
        for suffix, function, what in LOOPS:
            if frame.function == function and frame.file.endswith(suffix):
                return what
        if frame.own:
            break
    return None


def _deep(thread: Thread) -> str | None:
    """The same for loops that wait at the end of a longer way through their own library. Who sleeps there tries again, after a failure."""
    if thread.wait is None or thread.wait.kind == "sleep":
        return None
    for suffix, functions, what, through in DEEP_LOOPS:
        for frame in thread.frames:
            if frame.function in functions and frame.file.endswith(suffix):
                return what
            if not any(part in frame.file for part in through):
                break
    return None


def retries(thread: Thread) -> bool:
    """It sleeps between two tries of what failed."""
    wait = thread.wait
    return wait is not None and wait.kind == "sleep" and bool(thread.frames) and _is_one_of(thread.frames[0], RETRIES)


def joins(thread: Thread) -> bool:
    """It waits for other threads of its own process to end."""
    wait = thread.wait
    return wait is not None and wait.kind == "lock" and any(_is_one_of(frame, _JOINS) for frame in thread.frames[:2])


def _is_one_of(frame: Frame, functions: tuple[tuple[str, str], ...]) -> bool:
    return any(frame.function == function and frame.file.endswith(file) for file, function in functions)


def waits(wait: Wait) -> str:
    """`waits in recvfrom on fd 3 (tcp 127.0.0.1:4031 → 127.0.0.1:8000)`, without the time."""
    match wait.kind:
        case "sleep":
            return f"sleeps ({wait.call})"
        case "lock":
            return f"waits for {wait.object or 'a lock'}" + held_by(wait)
        case "gil":
            return "waits for the GIL"
        case "child":
            return f"waits for its child {wait.child}" if wait.child is not None else "waits for a child process to end"
        case "signal":
            return f"waits for a signal ({wait.call})"
        case "disk":
            return f"waits for the kernel in {wait.call} (uninterruptible)"
        case "other":
            return f"is in {wait.call}"
        case "file-lock":
            return f"waits for a file lock on {_things(wait)} ({wait.call})"
        case _:
            return f"waits in {wait.call} on {_things(wait)}"


RESULTS = ("Future", "futures", "Pool result")
"""What is computed by somebody, and held by nobody."""


def held_by(wait: Wait) -> str:
    """`, held by pay-2`, `, computed by exec_0` of a result; "" where no holder is known."""
    if not wait.holders:
        return ""
    verb = "computed" if (wait.object or "").startswith(RESULTS) else "held"
    names = [one.name + ("" if one.confidence == "certain" else f" ({one.confidence})") for one in wait.holders[:3]]
    return f", {verb} by {', '.join(names)}" + (", ..." if len(wait.holders) > 3 else "")


def since(wait: Wait) -> str:
    """`for 41 s`, and when it gives up by itself; "" when neither is known."""
    parts = [f"for {duration(wait.since_s)}"] if wait.since_s is not None else []
    if wait.left_s is not None:
        parts.append(f"{'wakes' if wait.kind == 'sleep' else 'gives up'} in {duration(wait.left_s)}")
    return ", ".join(parts)


def does(thread: Thread) -> str:
    """What a thread does, in words, with the time: the last column of `stacks`, and what is said of a peer."""
    if thread.state == "stopped":
        return "is stopped (SIGSTOP or SIGTSTP)"
    if thread.state == "traced":
        return "is stopped by a tracer"
    if thread.wait is None:
        return "runs" if thread.state == "running" else f"is {thread.state}"
    what = idle(thread)
    if what is not None:
        return " ".join(filter(None, (f"is idle: waits for {what}", since(thread.wait))))
    if joins(thread):
        return " ".join(filter(None, ("waits for other threads to end", since(thread.wait))))
    return ", ".join(filter(None, (waits(thread.wait), since(thread.wait))))


def called(process: Process) -> str:
    """`pid 43 (python server.py)`, shortened."""
    return f"pid {process.pid} ({command(process, 60)})"


def command(process: Process, most: int, *, named: bool = True) -> str:
    """`python server.py`: the command line with the folders of its program and arguments left out, at most `most` characters.

    Before it the name that the process has given itself, `pellucid-w0: python -m ...`, where the command line does not have it; not `named`:
    where the name stands beside it anyway.
    """
    line = " ".join(process.command)
    words = " ".join(_short(word) for word in process.command) or process.name
    if named and line and process.name not in line:
        words = f"{process.name}: {words}"
    return words if len(words) <= most else words[: most - 3] + "..."


def _short(word: str) -> str:
    return word.rpartition("/")[2] if word.startswith("/") else word


def _things(wait: Wait) -> str:
    if not wait.watched:
        return "nothing that could be read"
    named = [f"fd {one.fd} ({one.what})" for one in wait.watched[:3]]
    return ", ".join(named) + (f" and {len(wait.watched) - 3} more" if len(wait.watched) > 3 else "")


def _file(frame: Frame) -> str:
    return frame.file.rpartition("/")[2]
