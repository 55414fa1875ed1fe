"""Grows its memory in one of ten wrong ways or five healthy ones: `leaks.py KIND [told]`.

It prints "ready" (for `fork`: "child PID" first, the child being the one to look at), and then makes a step about 100 times a
second, of some 50 to 100 KB each, until it has made STEPS of them; then it only sleeps. `leaks.py KIND told` makes none by itself, but for
each number on stdin so many, and then says "done". What keeps the memory is named as in a real program, so that the sentence about it can
be checked word by word.
"""

import asyncio
import ctypes
import functools
import importlib
import itertools
import mmap
import os
import sys
import tempfile
import time

STEPS = 4000
OBJECTS = 200  # a step

REQUESTS = {}


class Session:
    def __init__(self, number):
        self.number = number
        self.user = f"user-{number}"
        self.visited = [number]


class Registry:
    _cache = {}


class Bus:
    def __init__(self):
        self.listeners = []


bus = Bus()
numbers = itertools.count()


def global_dict():
    for number in itertools.islice(numbers, OBJECTS):
        REQUESTS[f"request-{number}"] = Session(number)


@functools.lru_cache(maxsize=None)
def profile_of(number):
    return Session(number)


def lru_cache():
    for number in itertools.islice(numbers, OBJECTS):
        profile_of(number)


def make_handler():
    seen = []

    def handler(number):
        seen.append(Session(number))

    return handler


handle = make_handler()


def closure():
    for number in itertools.islice(numbers, OBJECTS):
        handle(number)


def class_attribute():
    for number in itertools.islice(numbers, OBJECTS):
        Registry._cache[f"session-{number}"] = Session(number)


def listeners():
    for number in itertools.islice(numbers, OBJECTS):
        bus.listeners.append(Session(number).__init__)


def figures():
    from matplotlib import pyplot

    pyplot.figure()


def frames():
    import pandas

    pieces.append(pandas.DataFrame({"amount": range(3000), "price": [1.5] * 3000})[:10])


pieces = []


def malloc():
    """What a C extension that forgets to free does."""
    for _ in range(OBJECTS):
        block = libc.malloc(400)
        ctypes.memset(block, 1, 400)


libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p


def fragmentation():
    """One in sixty of many records was kept, the others are gone: their pools can't be given back. No step adds to it."""
    kept[next(numbers) % len(kept)]["text"] = "touched"


kept = []


def after_a_peak():
    records = [{"number": number, "text": str(number)} for number in range(400_000)]
    kept.extend(records[::60])


async def never_awaited():
    await asyncio.Event().wait()


waiting = []


async def tasks():
    while steps():
        waiting.extend(asyncio.create_task(never_awaited()) for _ in range(OBJECTS // 4))
        await asyncio.sleep(PAUSE)
    await asyncio.sleep(3600)


def warm_up():
    """Builds its tables in the first second, and then only works with them."""
    if len(REQUESTS) < 20 * OBJECTS:
        global_dict()
    else:
        for key in list(itertools.islice(REQUESTS, OBJECTS)):
            REQUESTS[key] = Session(0)


@functools.lru_cache(maxsize=20 * OBJECTS)
def recent(number):
    return Session(number)


def bounded_cache():
    for number in itertools.islice(numbers, OBJECTS):
        recent(number)


def imports():
    """Imports a good part of the standard library, a module a step."""
    name = next(MODULES, None)
    if name is not None:
        importlib.import_module(name)


MODULES = iter(
    "decimal statistics fractions email.message http.client http.server xml.dom.minidom xml.sax json logging.config"
    " unittest.mock argparse ast inspect typing dataclasses enum concurrent.futures multiprocessing.pool sqlite3"
    " urllib.request zipfile tarfile csv configparser difflib doctest pdb pydoc tokenize turtledemo wave".split()
)


def touch_inherited():
    """A forked child writes to the records that it has from its parent: copies of pages, no new memory."""
    start = next(numbers) * OBJECTS
    for record in INHERITED[start : start + OBJECTS]:
        record["number"] += 1


INHERITED = []


def map_a_file():
    """Reads a large file through mmap, from its begin to its end."""
    at = next(numbers) * 65536
    for offset in range(at, min(at + 65536, len(mapped)), mmap.PAGESIZE):
        mapped[offset]


def steps():
    """Whether there is still a step to make; counts it."""
    global made, asked
    if TOLD and made == asked:
        if made:
            print("done", flush=True)
        asked += int(sys.stdin.readline() or 0)
    made += 1
    return made <= (asked if TOLD else STEPS)


made = asked = 0
PAUSE = 0.01
TOLD = sys.argv[2:] == ["told"]

KINDS = {
    "global-dict": global_dict,
    "lru-cache": lru_cache,
    "closure": closure,
    "class-attribute": class_attribute,
    "listeners": listeners,
    "figures": figures,
    "frames": frames,
    "malloc": malloc,
    "fragmentation": fragmentation,
    "warm-up": warm_up,
    "bounded-cache": bounded_cache,
    "import": imports,
    "fork": touch_inherited,
    "mmap": map_a_file,
}

if __name__ == "__main__":
    kind = sys.argv[1]
    if TOLD:
        PAUSE = 0
    if kind == "tasks":
        print("ready", flush=True)
        asyncio.run(tasks())
    if kind in ("figures", "frames"):
        KINDS[kind]()  # its imports are no leak
    if kind == "fragmentation":
        after_a_peak()
    if kind == "mmap":
        file = tempfile.TemporaryFile()
        file.truncate(64 << 20)
        mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    if kind == "fork":
        INHERITED = [{"number": number} for number in range(200_000)]
        child = os.fork()
        if child:
            print("child", child, flush=True)
            print("ready", flush=True)
            os.waitpid(child, 0)
            sys.exit()
    else:
        print("ready", flush=True)
    while steps():
        KINDS[kind]()
        time.sleep(PAUSE)
    time.sleep(3600)
