"""What it costs a program that its output is copied: `pellucid output` against strace and ptrace.

A program writes numbered lines to /dev/null, one call a line, as fast as it can, and tells how long one took: nothing but such calls is
the worst that can be. Whether the copy is whole is seen by its numbers; what is missing has to have been counted.
"""

import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from benchmarks import harness, machine

ROUNDS = 7
SECONDS = 1.0
TARGET = harness.here() / "benchmarks" / "targets" / "numbered.py"
PELLUCID = str(Path(sys.executable).with_name("pellucid"))
_BEGUN_S = 20.0


class Copied(Struct, frozen=True):
    """Nanoseconds of one line, lines written, lines in the copy, bytes told as lost; `error` where it failed."""

    line_ns: float = 0.0
    written: int = 0
    copied: int | None = None
    lost: int = 0
    error: str = ""


def report() -> str:
    if os.geteuid() != 0:
        raise harness.Failed("copying without stopping needs root")
    runs = harness.interleave(_contenders(), ROUNDS, warm_up=1)
    alone = [None if run.error else run.line_ns for run in runs["nothing"]]
    rows = []
    for name, measured in runs.items():
        mine = [None if run.error else run.line_ns for run in measured]
        more = harness.spread(
            (one - other) / 1e3 for one, other in zip(mine, alone, strict=True) if one is not None and other is not None
        )
        failed = [run.error for run in measured if run.error]
        rows.append(
            [
                name,
                harness.spread(mine).text(1e-3, 2),
                "–" if name == "nothing" else more.text(digits=2),
                "–" if name == "nothing" else harness.ratios(mine, alone).text(digits=1),
                _whole(measured),
                f"{len(failed)}: {failed[0]}" if failed else "0",
            ]
        )
    return "\n".join(
        [
            machine.described(["pellucid", "msgspec"]),
            (
                f"A Python loop of `os.write(1, b'line %d')` to /dev/null for {SECONDS:g} s, {ROUNDS} rounds, every tool once a round. `×` is the time of "
                "one line beside that without a tool.\n"
            ),
            harness.table(["", "µs a line", "µs more", "×", "of the lines in the copy", "failed"], rows),
        ]
    )


def _whole(measured: list[Copied]) -> str:
    """`all of 812,331`, or what part is there and how many bytes were told as lost."""
    runs = [run for run in measured if run.copied is not None and not run.error]
    if not runs:
        return "–"
    written, copied, lost = (sum(getattr(run, name) for run in runs) for name in ("written", "copied", "lost"))
    if copied == written:
        return f"all of {written:,}"
    return f"{copied / written:.2%} of {written:,}; {lost:,} bytes told as lost"


def _contenders() -> dict[str, Callable[[], Copied]]:
    tools: dict[str, Callable[[], Copied]] = {
        "nothing": lambda: _run(None),
        "pellucid output": lambda: _run([PELLUCID, "output", "PID", "-o", "COPY", "--json"]),
        "pellucid output --backend ptrace": lambda: _run(
            [PELLUCID, "output", "PID", "-o", "COPY", "--json", "--backend", "ptrace"]
        ),
    }
    if shutil.which("strace"):
        strace = ["strace", "-f", "-e", "trace=write", "-e", "write=1", "-qq", "-o", "COPY", "-p", "PID"]
        tools["strace -e write=1 -p"] = lambda: _run(strace)
    return tools


def _run(tool: list[str] | None) -> Copied:
    """One second of the target under a tool that is there before it begins."""
    with tempfile.TemporaryDirectory(prefix="pellucid-bench-") as folder:
        line = [sys.executable, "-S", "-E", str(TARGET), str(SECONDS)]
        with (
            open(os.devnull, "wb") as null,
            subprocess.Popen(line, stdin=subprocess.PIPE, stdout=null, stderr=subprocess.PIPE) as target,
        ):
            assert target.stdin is not None
            assert target.stderr is not None
            target.stderr.readline()
            copy = Path(folder) / "copy"
            words = {"PID": str(target.pid), "COPY": str(copy)}
            with open(Path(folder) / "said", "w+b") as said:
                looker = None
                if tool is not None:
                    command = [words.get(word, word) for word in tool]
                    looker = subprocess.Popen(command, stdout=said, stderr=null)
                    if not _watched(target.pid, looker):
                        target.kill()
                        looker.kill()
                        return Copied(error=f"{tool[0]} did not begin")
                target.stdin.write(b"go\n")
                target.stdin.flush()
                told = target.stderr.read().split()
                if looker is not None and looker.wait(60):
                    return Copied(error=f"ended with {looker.returncode}")
                said.seek(0)
                text = said.read()
            written, line_ns = int(told[-2]), float(told[-1])
            return Copied(line_ns, written, *_copied(tool, copy, text))


def _watched(pid: int, looker: "subprocess.Popen[bytes]") -> bool:
    """Wait until the tool is there: BPF programs are attached, or the target is traced."""
    until = time.monotonic() + _BEGUN_S
    while looker.poll() is None and time.monotonic() < until:
        status = Path(f"/proc/{pid}/status").read_text()
        if "TracerPid:\t0\n" not in status or any("bpf_link" in link for link in _links(looker.pid)):
            select.select([], [], [], 0.05)
            return True
        select.select([], [], [], 0.02)
    return False


def _links(pid: int) -> list[str]:
    found = []
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.append(os.readlink(fd))
        except OSError:  # closed meanwhile
            continue
    return found


def _copied(tool: list[str] | None, copy: Path, text: bytes) -> tuple[int | None, int]:
    """Lines in the copy, and bytes that were told as lost."""
    if tool is None or not copy.exists():
        return None, 0
    content = copy.read_bytes()
    if tool[0] == "strace":
        return content.count(b"write(1, "), 0
    return content.count(b"line "), json.loads(text)["lost_bytes"]
