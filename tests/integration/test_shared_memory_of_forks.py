"""A worker that was forked shares its memory with its parent until one of them writes: looking at all of it leaves it shared."""

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from pellucid.kernel import bulk
from pellucid.kernel.gather import gather
from pellucid.kernel.memory import Memory
from tests import interpreters
from tests.settling import settled

PELLUCID = [sys.executable, "-m", "pellucid"]
LITTLE = 3 << 20
"""A look at stacks and the first words of modules reads some hundred pages by process_vm_readv."""

ALONE = "import ctypes; ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)\n"
"""PR_SET_THP_DISABLE: khugepaged makes huge pages of shared ones, which then are private, and nobody's doing here."""

PROGRAM = """
import os, signal
class Record:
    def __init__(self, number):
        self.number, self.text, self.items = number, "text %d" % number, [number]
records = [Record(number) for number in range(30_000)]
large = [b"x" * 100_000 for _ in range(200)]
child = os.fork()
if child:
    print(child, flush=True)
signal.pause()
"""


@contextmanager
def parent_and_child(program, python=sys.executable):
    with subprocess.Popen(
        [python, "-c", ALONE + program], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            child, *more = map(int, process.stdout.readline().split())
            settled(process.pid, child)
            yield process.pid, child, *more
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def own(*pids):
    """Bytes of anonymous memory that they use together; a page that two share counts once (Pss_Anon, proc_pid_smaps(5))."""
    text = "".join(Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in pids)
    return sum(int(line.split()[1]) << 10 for line in text.splitlines() if line.startswith("Pss_Anon:"))


def test_no_command_takes_it_apart():
    with parent_and_child(PROGRAM, interpreters.get("3.13").path) as (parent, child):
        before = own(parent, child)
        looks = [
            ("memory", child),
            ("heap", child, "--no-pause"),
            ("heap", child),
            ("heap", child, "--limit", "8"),
            ("why", child),
        ]
        for command, *arguments in looks:
            told = subprocess.run(
                [*PELLUCID, command, *map(str, arguments), "--json"], capture_output=True, timeout=100, check=True
            )
            assert b"Record" in told.stdout or command != "heap"
            assert own(parent, child) - before < LITTLE, f"{command} {arguments}"


def test_what_reads_many_pages_leaves_them_shared():
    size = 32 << 20
    program = (
        "import ctypes, mmap, os, signal\n"
        f"room = mmap.mmap(-1, {size}, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)\n"
        f"for at in range(0, {size}, 4096): room[at] = 1\n"
        "child = os.fork()\n"
        "if child: print(child, ctypes.addressof(ctypes.c_char.from_buffer(room)), flush=True)\n"
        "signal.pause()"
    )
    with parent_and_child(program) as (parent, child, address), Memory.open(child) as memory:
        before = own(parent, child)
        buffer = bulk.Buffer(size)
        assert bulk.copy(memory, ((address, address + size),), buffer) == []
        pages = np.arange(address, address + size, 4096, dtype=np.uint64)
        words, good = gather(memory, pages, 1)
        assert good.all()
        assert words[:, 0].tolist() == [1] * len(pages)
        assert own(parent, child) - before < 1 << 20
