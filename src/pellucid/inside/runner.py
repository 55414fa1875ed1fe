"""Runs a program under the call tracer or the line tracer of the interpreter that runs this file, as if it ran alone.

PYTHON OPTIONS runner.py RESULT TRACER FUNCTIONS BORROWED FORM NAME ARGUMENTS...

RESULT: the file that gets what was measured, as JSON, when the program has ended. TRACER: "calls" or "lines"; FUNCTIONS: those whose lines are timed,
one a line of this text. BORROWED: a folder to import line_profiler from where this interpreter has none, or "". FORM and NAME: "script PATH",
"module NAME" or "code TEXT". It needs the standard library of CPython 3.8 or newer and imports nothing of pellucid, which may not be there: that is
why all of it is in one file.

sys.path, sys.argv, __main__, tracebacks, exit status and the way that Ctrl-C ends it are those of the program alone (Modules/main.c, 3.13).
"""

from __future__ import annotations

import sys

if not (getattr(sys.flags, "safe_path", False) or sys.flags.isolated):
    del sys.path[0]  # the folder of this file: nothing in it is to be imported by name

import atexit
import fnmatch
import importlib.machinery
import io
import json
import os
import runpy
import threading
import time
import types
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from typing import Any

_HERE = __file__  # the interpreter takes it away when this file has run (Python/pythonrun.c, _PyRun_SimpleFile)
_ROUNDS, _REPEATS = 5_000, 7


def main() -> None:
    """Calibrate, trace the program, and let it end as it does."""
    result, tracer, functions, borrowed, form, name, *arguments = sys.argv[1:]
    tracing: Calls | Lines = Calls() if tracer == "calls" else Lines(functions.splitlines(), borrowed)
    atexit.register(_leave, result, tracing, os.getpid())  # the first to be registered is the last to be called
    try:
        run = _prepared(form, name, arguments, tracing)
        tracing.start()
        run()
    except SystemExit:
        raise
    except BaseException:
        sys.excepthook = _without_us(sys.excepthook)
        raise


def _leave(result: str, tracing: Calls | Lines, pid: int) -> None:
    """A child that was forked has a copy of this, and nothing to say."""
    if os.getpid() != pid:
        return
    tracing.stop()
    told = {"version": sys.version.split()[0], **tracing.told()}
    passing = result + ".part"
    with open(passing, "w", encoding="utf-8", errors="backslashreplace") as file:
        json.dump(told, file)
    os.replace(passing, result)


def _prepared(form: str, name: str, arguments: list[str], tracing: Calls | Lines) -> Callable[[], None]:
    """A fresh __main__ with the program's sys.argv and sys.path; what is returned runs it."""
    fresh = types.ModuleType("__main__")
    sys.modules["__main__"], ours = fresh, sys.modules["__main__"]
    fresh.__dict__["__builtins__"] = ours.__dict__["__builtins__"]
    words = {"script": [name], "module": ["-m", name], "code": ["-c", name]}[form]
    if hasattr(sys, "orig_argv"):
        at = sys.orig_argv.index(_HERE)
        sys.orig_argv[at:] = [*words, *arguments]
    first = {"script": name, "module": "-m", "code": "-c"}[form]
    sys.argv[:] = [first, *arguments]
    whole = form == "script" and _is_importable(name)
    if not (getattr(sys.flags, "safe_path", False) or sys.flags.isolated) or whole:
        folder = (
            os.path.dirname(os.path.realpath(name)) if form == "script" else os.getcwd() if form == "module" else ""
        )
        if whole and sys.version_info >= (3, 9):
            folder = os.path.abspath(name)
        elif whole:
            folder = name
        sys.path.insert(0, folder)
    tracing.prepare()
    if form == "module":
        return lambda: runpy._run_module_as_main(name)  # type: ignore[attr-defined]  # noqa: SLF001  what `python -m` calls
    if whole:
        return lambda: runpy._run_module_as_main("__main__", False)  # type: ignore[attr-defined]  # noqa: SLF001
    if form == "code":
        code = tracing.code(compile(name, "<string>", "exec", dont_inherit=True))
    else:
        path = os.path.abspath(name) if sys.version_info >= (3, 9) else name
        fresh.__dict__.update(__file__=path, __cached__=None, __loader__=SourceFileLoader("__main__", path))
        try:
            with io.open_code(path) as file:
                source = file.read()
        except OSError as error:
            sys.stderr.write(f"{sys.executable}: can't open file {path!r}: [Errno {error.errno}] {error.strerror}\n")
            raise SystemExit(2) from None
        code = tracing.code(compile(source, path, "exec", dont_inherit=True))
    # Called as a function, without exec, which would be traced as the caller of all: code of a module has its globals as locals then too
    # (Objects/call.c, _PyFunction_Vectorcall: it is not CO_OPTIMIZED).
    return types.FunctionType(code, fresh.__dict__)


def _is_importable(path: str) -> bool:
    """A folder or zip file with a __main__.py, which is run as `python PATH` runs it."""
    for hook in sys.path_hooks:
        try:
            hook(path)
        except ImportError:
            continue
        return True
    return False


def _without_us(hook: Callable[..., Any]) -> Callable[..., Any]:
    def printed(kind: Any, error: Any, at: types.TracebackType | None) -> None:
        while at is not None and at.tb_frame.f_code.co_filename == _HERE:
            at = at.tb_next
        hook(kind, error.with_traceback(at), at)

    return printed


def _profile() -> Any:
    """The C engine that traces calls (Modules/_lsprof.c), by the name that it has here."""
    if sys.version_info >= (3, 15):
        from profiling.tracing import Profile  # type: ignore[import-not-found,unused-ignore]
    else:
        from cProfile import Profile
    return Profile()


class Calls:
    """cProfile, or profiling.tracing as 3.15 calls it: each thread has a tracer of its own.

    Up to 3.11 a tracer sees the thread that enabled it. From 3.12 on it sees all threads and takes their calls for those of one
    (gh-103533 moved it to sys.monitoring): when a second thread starts, events go through a function that tells threads apart, which costs
    more; what each costs is measured.
    """

    engine = "profiling.tracing" if sys.version_info >= (3, 15) else "cProfile"

    def __init__(self) -> None:
        self.costs = {"direct": _calibrated(None)}
        self.threads: dict[int, tuple[str, Any]] = {}
        self.before: dict[Any, int] = {}
        self._monitored = sys.version_info >= (3, 12)
        self._dispatching = False
        self.duration, self.stretch = 0.0, 1.0
        self.names: dict[int, str] = {}

    def prepare(self) -> None:
        """Nothing has to be known before the program is compiled."""

    def code(self, code: types.CodeType) -> types.CodeType:
        return code

    def start(self) -> None:
        self.threads[threading.get_ident()] = ("MainThread", _profile())
        if self._monitored:
            threading.Thread.start = _starting(self)  # type: ignore[method-assign]
        else:
            threading.setprofile(self._first_event)
        self._began, self._before = time.perf_counter(), _scheduled()
        self.threads[threading.get_ident()][1].enable()

    def stop(self) -> None:
        """Nothing was traced if the program could not even be compiled."""
        if not self.threads:
            return
        self.threads[threading.main_thread().ident or 0][1].disable()
        self.duration, self.stretch = time.perf_counter() - self._began, _stretch(self._before)
        if self._dispatching:
            self.costs["dispatched"] = _calibrated(_dispatched)

    def dispatch(self) -> None:
        """From 3.12 on, before the second thread starts: each event goes to the tracer of its thread."""
        if self._dispatching:
            return
        self._dispatching = True
        main = threading.main_thread().ident or 0
        self.before = {_label(entry.code): entry.callcount for entry in self.threads[main][1].getstats()}
        _dispatched(self._of_thread)

    def _of_thread(self) -> Any:
        ident = threading.get_ident()
        found = self.threads.get(ident)
        if found is None:
            found = self.threads[ident] = ("thread", _profile())
        return found[1]

    def _first_event(self, _frame: Any, _event: str, _argument: Any) -> None:
        """Up to 3.11, in a new thread."""
        sys.setprofile(None)
        profile = _profile()
        self.threads[threading.get_ident()] = (threading.current_thread().name, profile)
        profile.enable()

    def told(self) -> dict[str, Any]:
        return {
            "tracer": "calls",
            "engine": self.engine,
            "duration": self.duration,
            "costs": self.costs,
            "stretch": self.stretch,
            "before": [[*label, calls] for label, calls in self.before.items()],
            "dispatched": self._dispatching,
            "threads": [
                {
                    "ident": ident,
                    "name": self.names.get(ident, name),
                    "main": ident == threading.main_thread().ident,
                    "entries": _entries(profile),
                }
                for ident, (name, profile) in self.threads.items()
            ],
        }


def _starting(calls: Calls) -> Any:
    """Thread.start that lets the tracers be told apart first."""
    start = threading.Thread.start

    def started(self: threading.Thread) -> None:
        calls.dispatch()
        start(self)
        calls.names[self.ident or 0] = self.name

    return started


def _dispatched(of_thread: Callable[[], Any]) -> None:
    """Let the callbacks of the tracer go to those of the one that `of_thread` gives, which is asked once a thread."""
    monitoring = sys.monitoring  # type: ignore[attr-defined,unused-ignore]
    ident = threading.get_ident

    def passed_on(method: str, count: int) -> Callable[..., None]:
        """As many arguments as the event has, spelled out: this runs at each event of the program."""
        known: dict[int, Any] = {}

        def first(thread: int) -> Any:
            known[thread] = getattr(of_thread(), method)
            return known[thread]

        def two(code: Any, offset: Any) -> None:
            (known.get(ident()) or first(ident()))(code, offset)

        def three(code: Any, offset: Any, value: Any) -> None:
            (known.get(ident()) or first(ident()))(code, offset, value)

        def four(code: Any, offset: Any, called: Any, argument: Any) -> None:
            (known.get(ident()) or first(ident()))(code, offset, called, argument)

        return (two, three, four)[count - 2]

    for count, events in (
        (2, ("PY_START", "PY_RESUME")),
        (3, ("PY_THROW", "PY_RETURN", "PY_YIELD", "PY_UNWIND")),
        (4, ("CALL", "C_RETURN", "C_RAISE")),
    ):
        for event in events:
            number = getattr(monitoring.events, event)
            method = monitoring.register_callback(monitoring.PROFILER_ID, number, None)
            if method is not None:  # an event that the tracer asks for
                monitoring.register_callback(monitoring.PROFILER_ID, number, passed_on(method.__name__, count))


def _label(code: Any) -> tuple[str, int, str]:
    """(file, first line, qualified name); of a function in C ("", 0, how the tracer calls it)."""
    if isinstance(code, str):
        return "", 0, code
    return code.co_filename, code.co_firstlineno, getattr(code, "co_qualname", code.co_name)


def _entries(profile: Any) -> list[Any]:
    """[file, line, name, calls, seconds of its own, seconds in all, [[number of the callee, calls, seconds in all], ...]]."""
    found = [entry for entry in profile.getstats() if _label(entry.code)[0] != _HERE]
    numbers: dict[tuple[str, int, str], int] = {}
    for entry in found:
        numbers.setdefault(_label(entry.code), len(numbers))
    rows: list[Any] = [[*label, 0, 0.0, 0.0, []] for label in numbers]
    for entry in found:
        row = rows[numbers[_label(entry.code)]]
        row[3] += entry.callcount
        row[4] += entry.inlinetime
        row[5] += entry.totaltime
        for callee in entry.calls or ():
            number = numbers.get(_label(callee.code))
            if number is not None:
                row[6].append([number, callee.callcount, callee.totaltime])
    return rows


def _python() -> None:
    pass


def _calls_python(rounds: Any) -> None:
    for _ in rounds:
        _python()


def _calls_builtin(rounds: Any, called: Any = hash) -> None:
    for _ in rounds:
        called(1)


def _calls_nothing(rounds: Any) -> None:
    for _ in rounds:
        pass


def _calibrated(dispatch: Any) -> dict[str, list[float]]:
    """What a call costs, in seconds of CPU: [what the tracer adds to the callee's own time, to its caller's, what the call takes by itself].

    For functions in Python and in C. Measured here and now, on calls of functions that do nothing; the median of some repetitions.
    """
    numbers = range(_ROUNDS)
    loop = _median([_cpu(_calls_nothing, numbers) for _ in range(_REPEATS)])
    costs = {}
    for kind, calls, callee in (("python", _calls_python, "_python"), ("builtin", _calls_builtin, "hash")):
        plain = _median([_cpu(calls, numbers) for _ in range(_REPEATS)])
        traced = []
        shares = []
        for _ in range(_REPEATS):
            profile = _profile()
            profile.enable()
            if dispatch is not None:
                dispatch(lambda profile=profile: profile)
            spent = _cpu(calls, numbers)
            profile.disable()
            times = {_label(entry.code)[2]: entry for entry in profile.getstats()}
            outer = next(entry for name, entry in times.items() if name == calls.__name__)
            inner = next(entry for name, entry in times.items() if callee in name and name != calls.__name__)
            traced.append(spent)
            shares.append(inner.inlinetime / outer.totaltime)
        whole, inside = _median(traced), _median(shares) * _median(traced)
        # An empty function takes a third of its call, more or less; the other two make the frame, which is the caller's time.
        inside = max(inside - (plain - loop) / 3, 0.0)
        outside = max(whole - plain - inside, 0.0)
        costs[kind] = [inside / _ROUNDS, outside / _ROUNDS, max(plain - loop, 0.0) / _ROUNDS]
    return costs


def _cpu(act: Callable[..., Any], *arguments: Any) -> float:
    """Seconds of CPU that a call of `act` takes: on a machine with other work the time on a clock says nothing."""
    began = time.thread_time()
    act(*arguments)
    return time.thread_time() - began


def _median(times: list[float]) -> float:
    return sorted(times)[len(times) // 2]


def _scheduled() -> tuple[int, int]:
    """(nanoseconds on a CPU, nanoseconds ready and waiting for one) of this thread: Documentation/scheduler/sched-stats.rst. (0, 0) without."""
    try:
        with open("/proc/thread-self/schedstat") as file:
            ran, waited, _ = file.read().split()
    except OSError:
        return 0, 0
    return int(ran), int(waited)


def _stretch(before: tuple[int, int]) -> float:
    """By how much others on the machine made each second of this thread's work longer: 2.0 if it got half a CPU."""
    now = _scheduled()
    ran, waited = now[0] - before[0], now[1] - before[1]
    return 1 + waited / ran if ran else 1.0


class Lines:
    """line_profiler. The functions are found where their code is compiled, before they exist, so that it works for any way to run a program."""

    engine = "line_profiler"

    def __init__(self, patterns: list[str], borrowed: str) -> None:
        self.patterns = [pattern.rpartition(":")[::2] if ":" in pattern else ("", pattern) for pattern in patterns]
        if borrowed:
            sys.path.append(borrowed)
        try:
            from line_profiler import LineProfiler
        finally:
            if borrowed:
                sys.path.remove(borrowed)
        self._make: Any = LineProfiler
        self.profile: Any = LineProfiler()
        self.cost = self._calibrated()
        self.duration, self.stretch = 0.0, 1.0
        self._began = 0.0
        self.matched: list[str] = []
        self.seen: set[str] = set()

    def prepare(self) -> None:
        """Modules are compiled or read from their caches by this one method (importlib._bootstrap_external), also for `-m`."""
        found = importlib.machinery.SourceFileLoader.get_code

        def get_code(loader: Any, fullname: str) -> Any:
            code = found(loader, fullname)
            return code if code is None else self._instrumented(code, fullname, "")

        importlib.machinery.SourceFileLoader.get_code = get_code  # type: ignore[method-assign,assignment,unused-ignore]

    def code(self, code: types.CodeType) -> types.CodeType:
        return self._instrumented(code, "__main__", "")

    def _instrumented(self, code: types.CodeType, module: str, within: str) -> types.CodeType:
        constants = list(code.co_consts)
        changed = False
        for at, inner in enumerate(constants):
            if not isinstance(inner, types.CodeType):
                continue
            name = within + inner.co_name
            is_function = bool(inner.co_flags & 2)  # CO_NEWLOCALS: a class body has none
            new = self._instrumented(inner, module, name + (".<locals>." if is_function else "."))
            if is_function:
                new = self._traced(new, module, name)
            if new is not inner:
                constants[at], changed = new, True
        return code.replace(co_consts=tuple(constants)) if changed else code

    def _traced(self, code: types.CodeType, module: str, name: str) -> types.CodeType:
        own = "/lib/python3" not in code.co_filename and not code.co_filename.startswith("<frozen")
        if own and len(self.seen) < 5_000:
            self.seen.add(name)
        for where, what in self.patterns:
            if where and not (fnmatch.fnmatchcase(module, where) or code.co_filename.endswith("/" + where)):
                continue
            if not where and not own:
                continue
            if fnmatch.fnmatchcase(name, what) or fnmatch.fnmatchcase(name.rpartition(".")[2], what):
                function = types.FunctionType(code, {}, closure=tuple(types.CellType() for _ in code.co_freevars))
                self.profile.add_function(function)
                self.matched.append(name)
                return function.__code__
        return code

    def start(self) -> None:
        threading.settrace(self._first_event)
        self._began, self._before = time.perf_counter(), _scheduled()
        self.profile.enable()

    def _first_event(self, _frame: Any, _event: str, _argument: Any) -> None:
        """In a new thread: line_profiler is enabled thread by thread."""
        self.profile.enable()

    def stop(self) -> None:
        if not self._began:
            return
        self.profile.disable()
        self.duration, self.stretch = time.perf_counter() - self._began, _stretch(self._before)

    def told(self) -> dict[str, Any]:
        stats = self.profile.get_stats()
        return {
            "tracer": "lines",
            "engine": self.engine,
            "duration": self.duration,
            "cost": self.cost,
            "stretch": self.stretch,
            "matched": self.matched,
            "seen": sorted(self.seen),
            "functions": [
                [file, line, name, [[number, hits, time * stats.unit] for number, hits, time in timings]]
                for (file, line, name), timings in stats.timings.items()
            ],
        }

    def _calibrated(self) -> list[float]:
        """What a line costs, in seconds: [more under the tracer as that tells it, more of CPU, what it takes by itself].

        The first two differ: the tracer's clock stands still for most of what the tracer itself does. The first is the least of some repetitions,
        since the tracer tells time by the clock; the second the median.
        """
        source = "def lines(rounds):\n    for _ in rounds:\n        a = 1\n        b = 2\n        a = b\n"
        names: dict[str, Any] = {}
        exec(compile(source, "<calibration>", "exec"), names)
        numbers, function = range(_ROUNDS), names["lines"]
        plain = [_cpu(function, numbers) for _ in range(_REPEATS)]
        traced, told, hits = [], [], 1
        for _ in range(_REPEATS):
            profile = self._make()
            profile.add_function(function)
            profile.enable()
            traced.append(_cpu(function, numbers))
            profile.disable()
            stats = profile.get_stats()
            rows = [row for timings in stats.timings.values() for row in timings]
            hits = sum(row[1] for row in rows)
            told.append(sum(row[2] for row in rows) * stats.unit)
        in_told, in_all = min(told) - min(plain), _median(traced) - _median(plain)
        return [max(in_told / hits, 0.0), max(in_all / hits, 0.0), min(plain) / hits]


if __name__ == "__main__":
    main()
