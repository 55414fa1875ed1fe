"""Looking leaves no mark: no ptrace, no signal, no write, and a sleeping target does not wake."""

import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pellucid.runtimes import cpython
from tests import interpreters

each_python = pytest.mark.parametrize("python", interpreters.each())

LOOK = "import sys; from pellucid.runtimes import cpython\nwith cpython.attach(int(sys.argv[1])) as seen:\n  for _ in range(20): seen.read()"


@each_python
def test_the_reader_only_reads(python, target, tmp_path):
    """Every system call of a whole look that names the target: opens for reading, and process_vm_readv."""
    if not shutil.which("strace"):
        pytest.skip("strace is not on this machine: apt-get install strace")
    process, _ = target(python, "states.py", "threads")
    log = tmp_path / "calls"
    command = ["strace", "-f", "-s", "200", "-o", str(log), sys.executable, "-c", LOOK, str(process.pid)]
    subprocess.run(command, check=True, timeout=60, capture_output=True)
    lines = [line.partition(" ")[2].strip() for line in log.read_text(errors="replace").splitlines()]
    calls = [line for line in lines if "(" in line]
    assert not [line for line in calls if re.match(r"(ptrace|process_vm_writev|tgkill|tkill|pidfd_\w+|prctl)\(", line)]
    about = [line for line in calls if re.search(rf"/proc/{process.pid}\b|^\w+\({process.pid}\b", line)]
    assert about
    assert {line.partition("(")[0] for line in about} - {"execve"} <= {
        "process_vm_readv",
        "openat",
        "readlink",
        "newfstatat",
    }
    opened = [line for line in about if line.startswith("openat(")]
    assert any(f"/proc/{process.pid}/mem" in line for line in opened)
    assert all("O_RDONLY" in line and "O_RDWR" not in line and "O_WRONLY" not in line for line in opened)


@each_python
def test_a_sleeping_target_does_not_wake(python, target):
    process, _ = target(python, "states.py", "threads")

    def marks():
        tasks = sorted(Path(f"/proc/{process.pid}/task").iterdir())
        return [
            re.findall(
                r"^(TracerPid|SigPnd|\w*voluntary_ctxt_switches):\s*(.*)$", (task / "status").read_text(), re.MULTILINE
            )
            for task in tasks
        ]

    time.sleep(0.5)  # it says "ready" a moment before the last of its threads is asleep
    before = marks()
    with cpython.attach(process.pid) as runtime:
        for _ in range(200):
            assert len(runtime.read().stacks) == len(before)
    assert marks() == before
    assert ("TracerPid", "0") in before[0]
