"""A program that profiles itself, and prints what it knows better than its profiler as JSON. The name of a scene is its argument."""

import asyncio
import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import pellucid
from pellucid.model.errors import UsageError
from pellucid.model.hot import hottest, slept

WHOLE = 1.2


def spin(seconds, now=time.perf_counter):
    end = now() + seconds
    while now() < end:
        sum(range(200))


def sixty(now):
    spin(0.6 * WHOLE, now)


def thirty(now):
    spin(0.3 * WHOLE, now)


def ten(now):
    spin(0.1 * WHOLE, now)


def shares(profile, chosen):
    whole = sum(run.weight_ns for track in profile.tracks for run in track.runs if chosen(run))
    return {hot.qualname: hot.total_ns / whole for hot in hottest(profile, chosen, 1000)}


def split(clock, interval):
    """60/30/10 of the time that the clock tells, measured by the program itself."""
    now = {"prof": time.process_time, "virtual": lambda: resource.getrusage(resource.RUSAGE_SELF).ru_utime}.get(clock, time.perf_counter)
    times = {}
    with pellucid.Profiler(interval, clock) as profiler:
        for part in (sixty, thirty, ten):
            began = now()
            part(now)
            times[part.__name__] = now() - began
    profile = profiler.profile
    whole = sum(times.values())
    taking = profile.taking
    return {
        "own": {name: spent / whole for name, spent in times.items()},
        "seen": shares(profile, lambda run: run.stack >= 0),  # what it could not see, it says
        "weight_s": sum(run.weight_ns for track in profile.tracks for run in track.runs) / 1e9,
        "whole_s": whole,
        "duration_s": profile.duration_ns / 1e9,
        "taken": taking.taken,
        "missed": taking.missed,
        "asked": taking.asked,
        "slowdown": taking.slowdown,
        "mode": profile.mode,
    }


def threads(clock):
    """One thread computes, one waits for an event, and the main thread waits for them."""
    stop = threading.Event()

    def computes():
        spin(0.5)

    def waits():
        stop.wait(10)

    with pellucid.Profiler(0.002, clock) as profiler:
        both = [threading.Thread(target=computes, name="computes"), threading.Thread(target=waits, name="waits")]
        for one in both:
            one.start()
        both[0].join()
        stop.set()
        both[1].join()
    profile = profiler.profile
    found = {}
    for track in profile.tracks:
        seen = {}
        for run in track.runs:
            seen[run.state] = seen.get(run.state, 0) + run.weight_ns / 1e9
        found[track.name] = seen
    return {"tracks": found, "ran": shares(profile, lambda run: run.state != "waiting"), "slept": shares(profile, slept)}


async def lookup():
    await asyncio.sleep(0.4)


async def handle():
    await lookup()


def tasks():
    async def main():
        await asyncio.gather(*(handle() for _ in range(5)))

    with pellucid.Profiler(0.005) as profiler:
        asyncio.run(main())
    profile = profiler.profile
    (track,) = [one for one in profile.tracks if one.name == "tasks of handle"]
    heaviest = max(track.runs, key=lambda run: run.weight_ns)
    return {
        "chain": [frame.qualname for frame in profile.frames_of(heaviest.stack)],
        "weight_s": sum(run.weight_ns for run in track.runs) / 1e9,
        "states": sorted({run.state for run in track.runs}),
    }


def interrupted():
    """What a signal a thousand times a second must not do to system calls."""
    said = {}
    with pellucid.Profiler(0.001) as profiler:
        began = time.monotonic()
        time.sleep(0.2)
        said["sleep"] = time.monotonic() - began
        began = time.monotonic()
        select.select([], [], [], 0.2)
        said["select"] = time.monotonic() - began
        one, other = socket.socketpair()
        threading.Timer(0.1, lambda: other.sendall(b"sent")).start()
        said["recv"] = one.recv(10).decode()
        reading, writing = os.pipe()
        threading.Timer(0.1, lambda: os.write(writing, b"written")).start()
        said["read"] = os.read(reading, 10).decode()
        lock = threading.Lock()
        lock.acquire()
        threading.Timer(0.1, lock.release).start()
        said["lock"] = lock.acquire(timeout=5)
        said["child"] = subprocess.run([sys.executable, "-c", "import time; time.sleep(.1); print('done')"], capture_output=True, text=True).stdout
        with tempfile.TemporaryFile() as file:
            for _ in range(200):
                file.write(bytes(100_000))
            said["written"] = file.tell()
    said["taken"] = profiler.profile.taking.taken
    return said


def conflicts():
    said = {}

    def on_alarm(number, frame):
        pass

    def attempt(name, start):
        try:
            start()
        except UsageError as error:
            said[name] = [error.tried, error.said, error.remedy]

    signal.signal(signal.SIGALRM, on_alarm)
    attempt("handler", pellucid.Profiler().start)
    said["kept"] = signal.getsignal(signal.SIGALRM) is on_alarm
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_PROF, 100)
    attempt("timer", pellucid.Profiler(clock="prof").start)
    said["timer kept"] = signal.setitimer(signal.ITIMER_PROF, 0)[0] > 90
    with pellucid.Profiler():
        attempt("another", pellucid.Profiler().start)
    thread = threading.Thread(target=lambda: attempt("thread", pellucid.Profiler().start))
    thread.start()
    thread.join()
    attempt("clock", lambda: pellucid.Profiler(clock="sundial"))
    attempt("interval", lambda: pellucid.Profiler(0))
    attempt("generator", lambda: pellucid.Profiler()(lambda: (yield)))
    with pellucid.Profiler() as profiler:
        attempt("twice", profiler.start)
        signal.signal(signal.SIGALRM, on_alarm)
        signal.setitimer(signal.ITIMER_REAL, 50)
        time.sleep(0.02)
    said["taken over"] = [[gap.what, gap.why] for gap in profiler.profile.gaps]
    said["theirs"] = signal.getsignal(signal.SIGALRM) is on_alarm and signal.getitimer(signal.ITIMER_REAL)[0] > 40
    signal.setitimer(signal.ITIMER_REAL, 0)
    return said


def ends():
    """Everything is as it was afterwards; a fork, an exec and an exit in the middle of it harm nobody."""
    said = {}
    with pellucid.Profiler(0.001) as profiler:
        spin(0.05)
        pid = os.fork()
        if pid == 0:
            spin(0.05)
            profiler.stop()
            gap = any("fork" in one.what for one in profiler.profile.gaps)
            os._exit(7 if gap and signal.getsignal(signal.SIGALRM) is signal.SIG_DFL else 8)
        said["child"] = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        before = profiler.profile.taking.taken
        for _ in range(40):  # a crowded machine gives it few samples
            spin(0.05)
            if profiler.profile.taking.taken > before:
                break
        said["goes on"] = profiler.profile.taking.taken > before
    said["handler"] = signal.getsignal(signal.SIGALRM) is signal.SIG_DFL
    said["timer"] = signal.getitimer(signal.ITIMER_REAL)
    pid = os.fork()
    if pid == 0:
        pellucid.Profiler(0.001).start()
        os.execv(sys.executable, [sys.executable, "-c", "import time; time.sleep(.2)"])
    said["exec"] = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    code = "import pellucid, time; pellucid.Profiler(0.001).start(); time.sleep(.05)"
    said["exit"] = subprocess.run([sys.executable, "-c", code]).returncode
    return said


def decorated():
    profiler = pellucid.Profiler(0.002)

    @profiler
    def recursive(depth):
        """Its docstring."""
        if depth:
            return recursive(depth - 1)
        spin(0.2)
        return threading.get_ident()

    @profiler
    async def coroutine():
        await asyncio.sleep(0.05)
        spin(0.1)
        return "result"

    result = recursive(3)
    first = profiler.profile.duration_ns / 1e9
    spin(0.3)  # not recorded
    answer = asyncio.run(coroutine())
    profile = profiler.profile
    return {
        "result": result == threading.get_ident(),
        "answer": answer,
        "name": recursive.__name__,
        "doc": recursive.__doc__,
        "first": first,
        "both": profile.duration_ns / 1e9,
        "functions": sorted({frame.qualname for frame in profile.frames}),
        "is_coroutine": asyncio.iscoroutinefunction(coroutine),
    }


def deep():
    """A recursion near the limit, at a rate that its stacks are too long for."""
    sys.setrecursionlimit(30_000)
    told = {}

    def down(depth):
        if depth:
            down(depth - 1)
        else:
            spin(0.6)

    threading.stack_size(512 * 1024 * 1024)

    def both():
        with pellucid.Profiler(0.001, "thread") as profiler:
            down(12_000)
        taking = profiler.profile.taking
        told["share"] = taking.cpu_s / taking.wall_s
        told["gaps"] = [gap.what for gap in profiler.profile.gaps]
        told["taken"] = taking.taken

    thread = threading.Thread(target=both)
    thread.start()
    thread.join()
    return told


if __name__ == "__main__":
    name, *arguments = sys.argv[1:]
    print(json.dumps(globals()[name](*[float(one) if "." in one else one for one in arguments])))
