"""Fails twenty thousand times, twelve calls deep, and tells the nanoseconds of one failed call, and those of its CPU.

    python failing.py PATH recursion|functions

The stack is that of a recursion, or of as many functions of which each has a code object of its own.
"""

import os
import sys
import time

CALLS = 20_000
DEPTH = 12


def fail(path: str) -> None:
    for _ in range(CALLS):
        os.access(path, os.R_OK)


def deep(levels: int, path: str) -> None:
    if levels:
        deep(levels - 1, path)
    else:
        fail(path)


def functions() -> None:
    """Make `level_2` ... `level_DEPTH`, of which each calls the one before, and the first `fail`."""
    names = ["fail", *(f"level_{number}" for number in range(2, DEPTH + 1))]
    for callee, name in zip(names, names[1:], strict=False):
        exec(f"def {name}(path):\n    {callee}(path)", globals())


began, cpu = time.perf_counter_ns(), time.process_time_ns()
if sys.argv[2] == "recursion":
    deep(DEPTH - 2, sys.argv[1])
else:
    functions()
    globals()[f"level_{DEPTH}"](sys.argv[1])
print((time.perf_counter_ns() - began) / CALLS, (time.process_time_ns() - cpu) / CALLS)
