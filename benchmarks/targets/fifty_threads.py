"""Fifty threads that wait, with 470 Python frames in all: what a one-shot dump is measured on.

Each of the 49 workers has four frames of its own between threading's three and the two of Event.wait; the main thread
makes up the rest. It prints `ready` when all of them wait, and ends when its standard input is closed.
"""

import sys
import threading
import time

WORKERS = 49
FRAMES = 470

never = threading.Event()
waiting = threading.Barrier(WORKERS + 1)


def receive() -> None:
    parse()


def parse() -> None:
    decide()


def decide() -> None:
    answer()


def answer() -> None:
    waiting.wait(30)
    never.wait()


def descend(levels: int) -> None:
    if levels > 0:
        descend(levels - 1)
    else:
        waiting.wait(30)
        time.sleep(0.2)  # from the barrier into Event.wait
        print("ready", flush=True)
        sys.stdin.read()


for number in range(WORKERS):
    threading.Thread(target=receive, name=f"worker-{number:02d}", daemon=True).start()
descend(FRAMES - WORKERS * 9 - 2)
