"""A Python program run under a tracer: `inside/runner.py` is started by the interpreter of the command, and leaves what it counted in a file."""

import difflib
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from typing import Literal, TypeVar

import msgspec

from pellucid.model import redact
from pellucid.model.errors import UsageError
from pellucid.model.profile import Profile
from pellucid.observe import traced_calls, traced_lines
from pellucid.observe.python_command import PythonCommand, understood
from pellucid.observe.syscalls_launch import Launched

_GRACE_S, _KILL_S = 2.0, 5.0
_MOST = 256 << 20  # bytes of a result
_OLDEST = (3, 8)  # for inside/runner.py

Stopped = Callable[[], bool]
T = TypeVar("T")


def trace_calls(
    words: tuple[str, ...], stopped: Stopped, *, seconds: float | None = None, stdout: int = 1
) -> tuple[Profile, int]:
    """(every call of the program, its exit status). Raises UsageError: no Python program, or one that left no result."""
    python = understood(words)
    began_at = time.time()
    content, status, pid = _run(python, "calls", (), "", stopped, seconds, stdout)
    told = _decoded(content, traced_calls.ToldCalls, python, words, status)
    return traced_calls.profile_of(told, " ".join(redact.command(words)), began_at, pid), status


def trace_lines(
    words: tuple[str, ...],
    functions: tuple[str, ...],
    stopped: Stopped,
    *,
    seconds: float | None = None,
    stdout: int = 1,
) -> tuple[Profile, int]:
    """(the lines of those functions, the program's exit status). Raises UsageError, also where nothing has one of these names."""
    python = understood(words)
    borrowed = _line_profiler(python)
    began_at = time.time()
    content, status, pid = _run(python, "lines", functions, borrowed, stopped, seconds, stdout)
    told = _decoded(content, traced_lines.ToldLines, python, words, status)
    if not told.matched:
        wanted = functions[0].rpartition(":")[2]
        near = difflib.get_close_matches(wanted, told.seen, n=3, cutoff=0.5)
        raise UsageError(
            tried=f"time the lines of {', '.join(functions)}",
            said="the program ran, and no function of that name was in what it loaded",
            remedy=f"--lines {near[0]}"
            if near
            else "--lines FUNCTION, --lines CLASS.METHOD or --lines MODULE:FUNCTION",
        )
    return traced_lines.profile_of(told, " ".join(redact.command(words)), began_at, pid), status


def _run(
    python: PythonCommand,
    tracer: Literal["calls", "lines"],
    functions: tuple[str, ...],
    borrowed: str,
    stopped: Stopped,
    seconds: float | None,
    stdout: int,
) -> tuple[bytes, int, int]:
    """(what the runner left, b"" if nothing; exit status; pid)."""
    folder = tempfile.mkdtemp(prefix="pellucid-")
    result = os.path.join(folder, "result")
    told = (result, tracer, "\n".join(functions), borrowed, python.form, python.name)
    command = (python.interpreter, *python.options, _runner(), *told, *python.arguments)
    try:
        with Launched(command, stdout, "profile --trace") as child:
            child.release()
            _wait(child, stopped, seconds)
            status, pid = child.status, child.pid
        try:
            with open(result, "rb") as file:
                content = file.read(_MOST)
        except FileNotFoundError:
            content = b""
        return content, 130 if status is None else status, pid
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait(child: Launched, stopped: Stopped, seconds: float | None) -> None:
    """Until it has ended. Ctrl-C reaches it from the terminal; it is passed on where it has not, and after -d SECONDS."""
    began = time.monotonic()
    interrupted = asked = None
    while not child.ended():
        now = time.monotonic()
        if interrupted is None and stopped():
            interrupted = now
        due = seconds is not None and now - began > seconds
        if asked is None and (due or (interrupted is not None and now - interrupted > _GRACE_S)):
            asked = now
            os.kill(child.pid, signal.SIGINT)
        if asked is not None and now - asked > _KILL_S:
            os.kill(child.pid, signal.SIGTERM)
            asked = float("inf")
        time.sleep(0.01)


class LeftNothing(UsageError):  # noqa: N818  as the others of its tree
    """The program ended by itself in a way that keeps nothing; its exit status is ours."""

    def __init__(self, words: tuple[str, ...], status: int) -> None:
        by_signal = 128 < status < 128 + signal.NSIG
        how = f"a signal ({signal.Signals(status - 128).name})" if by_signal else "os._exit, or exec of another program"
        super().__init__(
            tried=f"trace {words[0]}",
            said=f"it ended with status {status} and left no result, as after {how}",
            remedy="pellucid profile -- CMD  (samples from outside, whatever ends it)",
        )
        if status:
            vars(self)["exit_status"] = status


def _decoded(content: bytes, shape: type[T], python: PythonCommand, words: tuple[str, ...], status: int) -> T:
    if not content:
        version = _asked(python, "print('%d.%d' % sys.version_info[:2])")
        if version and tuple(map(int, version.split("."))) < _OLDEST:
            raise UsageError(
                tried=f"trace {words[0]}",
                said=f"it is Python {version}, and the tracers need {_OLDEST[0]}.{_OLDEST[1]} or newer",
                remedy="pellucid syscalls -- CMD  (looks at any program)",
            )
        raise LeftNothing(words, status)
    return msgspec.json.decode(content, type=shape)


def _asked(python: PythonCommand, code: str) -> str:
    """What the interpreter of the command prints for a line of Python, "" if it can't."""
    import subprocess

    options = [option for option in python.options if option in {"-I", "-E", "-s", "-S"}]
    command = [python.interpreter, *options, "-c", f"import sys; {code}"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30, cwd="/").stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def _runner() -> str:
    """The path of the file; `inside` is a package, and the file in it is not imported but run, by another interpreter perhaps."""
    import pellucid.inside

    return os.path.join(os.path.dirname(pellucid.inside.__file__), "runner.py")


def _line_profiler(python: PythonCommand) -> str:
    """The folder to borrow line_profiler from, "" where the interpreter of the command has its own. Raises UsageError if neither has."""
    import importlib.util
    import sys
    import sysconfig

    ask = "import importlib.util, sysconfig; print(bool(importlib.util.find_spec('line_profiler')), sysconfig.get_config_var('SOABI'))"
    has, _, abi = _asked(python, ask).partition(" ")
    if has == "True":
        return ""
    spec = importlib.util.find_spec("line_profiler")
    if spec is not None and spec.origin is not None and abi == sysconfig.get_config_var("SOABI"):
        return os.path.dirname(os.path.dirname(spec.origin))
    own = os.path.realpath(python.interpreter) == os.path.realpath(sys.executable)
    raise UsageError(
        tried="time lines with line_profiler",
        said=f"{python.interpreter} has none",
        remedy="pip install 'pellucid[trace]'" if own else f"{python.interpreter} -m pip install line_profiler",
    )
