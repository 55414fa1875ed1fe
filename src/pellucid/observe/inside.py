"""The one look that runs code in the process: tracemalloc for a while, by sys.remote_exec of CPython 3.14 and later (PEP 768). Never a default.

sys.remote_exec works between equal minor versions, so the target's own program (/proc/PID/exe) is started to call it. The target runs the
script between two bytecodes of its main thread; while that thread is in C code, it does not. The script only starts a thread, which sleeps,
writes the result beside itself and leaves tracemalloc as it was. When nobody waits for it any more, it takes itself away.
"""

import json
import os
import subprocess
import tempfile
import time
from shutil import rmtree
from typing import Any

from pellucid.kernel import procfs
from pellucid.model import Process
from pellucid.model.allocated import AllocationLine, TracemallocReport
from pellucid.model.errors import LookError, NotUnderstood
from pellucid.runtimes.cpython.recognise import attach

OLDEST = 14
START_S = 10.0
"""For so long the target may take to run the script."""
MAX_LINES = 25
_MAX_RESULT = 1 << 24
_REFUSED_S = 20.0

_SCRIPT = """
def _look(folder, seconds, most):
    import json, os, threading, time, tracemalloc
    if not os.path.exists(os.path.join(folder, "wanted")):
        return
    def run():
        on = tracemalloc.is_tracing()
        if not on:
            tracemalloc.start()
        open(os.path.join(folder, "begun"), "w").close()
        try:
            time.sleep(seconds)
            traced, peak = tracemalloc.get_traced_memory()
            own = tracemalloc.get_tracemalloc_memory()
            found = tracemalloc.take_snapshot().statistics("lineno")[:most]
        finally:
            if not on:
                tracemalloc.stop()
        told = [[one.traceback[0].filename, one.traceback[0].lineno, one.size, one.count] for one in found]
        with open(os.path.join(folder, "result.new"), "w") as file:
            json.dump({"on": on, "traced": traced, "peak": peak, "own": own, "lines": told}, file)
        os.rename(os.path.join(folder, "result.new"), os.path.join(folder, "result"))
    threading.Thread(target=run, name="pellucid-tracemalloc", daemon=True).start()
_look(%r, %r, %r)
del _look
"""


def tracemalloc(pid: int, seconds: float) -> TracemallocReport:
    """Runs code in `pid`. Raises NotUnderstood for another Python, LookError where it does not run, and what looking raises."""
    process = _able(pid)
    folder = tempfile.mkdtemp(prefix="pellucid-inside-")
    try:
        os.chmod(folder, 0o700)
        for name, text in (("wanted", ""), ("script.py", _SCRIPT % (folder, seconds, MAX_LINES))):
            with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
                file.write(text)
            _give(os.path.join(folder, name), process)
        _give(folder, process)
        _execute(process, os.path.join(folder, "script.py"))
        _wait(
            process,
            os.path.join(folder, "begun"),
            START_S,
            "it did not run the script: its main thread is in C code, or waits in a call",
        )
        _wait(process, os.path.join(folder, "result"), seconds + START_S, "it ran the script and wrote no result")
        return _report(process, seconds, os.path.join(folder, "result"))
    finally:
        rmtree(folder, ignore_errors=True)  # a script that runs only now finds nothing wanted


def _able(pid: int) -> Process:
    with attach(pid) as python:
        process = procfs.with_runtime(procfs.process(pid), python.name)
        if python.layout.minor < OLDEST:
            raise NotUnderstood(
                pid,
                tried=f"run code in pid {pid} (sys.remote_exec)",
                said=f"it runs {python.name}: only 3.{OLDEST} and later can be asked to",
                remedy=f"pellucid heap {pid}  (reads it from outside)",
            )
        return process


def _give(path: str, process: Process) -> None:
    """The target's user has to read the script and write the result."""
    if os.geteuid() == 0 and process.uid != 0:
        os.chown(path, process.uid, -1)


def _execute(process: Process, script: str) -> None:
    pid = process.pid
    line = [
        f"/proc/{pid}/exe",
        "-I",
        "-c",
        "import sys; sys.remote_exec(int(sys.argv[1]), sys.argv[2])",
        str(pid),
        script,
    ]
    try:
        told = subprocess.run(
            line,
            capture_output=True,
            text=True,
            timeout=_REFUSED_S,
            check=False,
            executable=process.exe or line[0],
            **_as_its_user(process),
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _failed(pid, str(error)) from error
    if told.returncode:
        raise _failed(pid, (told.stderr.strip().splitlines() or ["it ended without a word"])[-1])


def _as_its_user(process: Process) -> dict[str, Any]:
    """Its program is not ours to trust: it is started with no more rights than the process has."""
    if os.geteuid() != 0 or process.uid == 0:
        return {}
    return {"user": process.uid, "group": int(procfs.status(process.pid)["Gid"].split()[1]), "extra_groups": []}


def _wait(process: Process, path: str, seconds: float, why: str) -> None:
    ends = time.monotonic() + seconds
    while not os.path.exists(path):
        if not procfs.lives(process.pid, process.start_ticks):
            raise _failed(process.pid, "it ended meanwhile")
        if time.monotonic() > ends:
            raise _failed(process.pid, f"{why} within {seconds:.0f} s")
        time.sleep(0.02)


def _failed(pid: int, said: str) -> LookError:
    return LookError(
        pid,
        tried=f"run tracemalloc in pid {pid} (sys.remote_exec)",
        said=said,
        remedy=f"pellucid heap {pid} --every 10  (from outside; runs nothing in it)",
    )


def _report(process: Process, seconds: float, path: str) -> TracemallocReport:
    told = json.loads(procfs.read_file(path, _MAX_RESULT))
    return TracemallocReport(
        process=process,
        taken_at=time.time(),
        gaps=(),
        ran_code=True,
        seconds=seconds,
        lines=tuple(
            AllocationLine(str(file), int(line), int(size), int(count)) for file, line, size, count in told["lines"]
        ),
        traced_bytes=told["traced"],
        peak_bytes=told["peak"],
        own_bytes=told["own"],
        already_on=told["on"],
    )
