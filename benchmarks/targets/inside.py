"""The same work under one profiler of the many that run inside of a program: `inside.py NAME` prints CPU seconds and shares as JSON."""

import json
import sys
import time

CALLS, LOOPS, DEEP, DEPTH = 700_000, 2_000_000, 1_200_000, 60


def small(number):
    return number + 1


def calls():
    """Many calls that do little."""
    number = 0
    for _ in range(CALLS):
        number = small(number)


def loop():
    """The same kind of work without a call."""
    number = 0
    for _ in range(LOOPS):
        number = number + 1


def deep(depth=DEPTH):
    """Work under many frames."""
    if depth:
        deep(depth - 1)
        return
    number = 0
    for _ in range(DEEP):
        number = number + 1


PARTS = (calls, loop, deep)


def work():
    spent = {}
    for part in PARTS:
        began = time.process_time()
        part()
        spent[part.__name__] = time.process_time() - began
    return spent


def plain():
    return work(), None, 0


def pellucid(clock, interval):
    from pellucid import Profiler
    from pellucid.model.hot import hottest

    with Profiler(interval, clock) as profiler:
        spent = work()
    profile = profiler.profile
    whole = sum(run.weight_ns for track in profile.tracks for run in track.runs)
    found = {hot.qualname: hot.total_ns / whole for hot in hottest(profile, lambda _: True, 1000)}
    return spent, {part.__name__: found.get(part.__name__, 0.0) for part in PARTS}, profile.taking.taken


def pyinstrument(interval):
    from pyinstrument import Profiler

    profiler = Profiler(interval=interval)
    profiler.start()
    spent = work()
    session = profiler.stop()
    shares, waiting = dict.fromkeys((part.__name__ for part in PARTS), 0.0), [session.root_frame()]
    whole = waiting[0].time
    while waiting:
        frame = waiting.pop()
        if frame.function in shares:
            shares[frame.function] += frame.time / whole
        else:
            waiting += frame.children
    return spent, shares, len(session.frame_records)


def cprofile():
    from cProfile import Profile

    profiler = Profile()
    profiler.enable()
    spent = work()
    profiler.disable()
    entries = [entry for entry in profiler.getstats() if not isinstance(entry.code, str)]
    totals = {entry.code.co_name: entry.totaltime for entry in entries}
    return spent, {part.__name__: totals[part.__name__] / totals["work"] for part in PARTS}, sum(entry.callcount for entry in entries)


NAMES = {
    "plain": plain,
    "pellucid real 1 ms": lambda: pellucid("real", 0.001),
    "pellucid thread 1 ms": lambda: pellucid("thread", 0.001),
    "pellucid prof 4 ms": lambda: pellucid("prof", 0.004),
    "pyinstrument 1 ms": lambda: pyinstrument(0.001),
    "cProfile": cprofile,
}

if __name__ == "__main__":
    spent, shares, samples = NAMES[sys.argv[1]]()
    print(json.dumps({"spent": spent, "shares": shares, "samples": samples}))
