"""Fails twenty thousand times, twelve calls deep, and tells the nanoseconds of one failed call."""

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


began = time.perf_counter_ns()
deep(DEPTH - 2, sys.argv[1])
print((time.perf_counter_ns() - began) / CALLS)
