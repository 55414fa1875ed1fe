"""Programs that keep more and more, each in its own way, and programs that grow for good reasons. "ready" after the first part; each line on
stdin makes it do another one, and say "done"."""
import asyncio
import collections
import ctypes
import functools
import importlib
import mmap
import os
import sys
import tempfile
import threading
import weakref

WHICH = sys.argv[1]
STEP = 4000
made = 0


class Session:
    def __init__(self, i):
        self.id, self.payload = i, {"user": f"u{i}", "rows": [float(i)] * 8}


SESSIONS = {}


def global_dict(i):
    SESSIONS[("session", i)] = Session(i)


@functools.lru_cache(maxsize=None)
def load(i):
    return Session(i)


def lru_cache(i):
    load(i)


def counter():
    seen = []

    def count(i):
        seen.append(Session(i))

    return count


counted = counter()


def closure(i):
    counted(i)


class Registry:
    _cache = {}


def class_attribute(i):
    Registry._cache[i] = Session(i)


def default(i, kept=[]):
    kept.append(Session(i))


class Gcf:  # the shape of matplotlib's own: a class that keeps its figures in an OrderedDict
    figs = collections.OrderedDict()


class Figure:
    def __init__(self, i):
        self.number, self.axes = i, [float(i)] * 10


if WHICH == "figures":
    Gcf.__module__ = "matplotlib._pylab_helpers"


def figures(i):
    Gcf.figs[i] = Figure(i)


class Bus:
    def __init__(self):
        self._listeners = []


bus = Bus()


class View:
    def __init__(self, i):
        self.i = i
        bus._listeners.append(self.changed)

    def changed(self):
        return self.i


def listeners(i):
    View(i)


loop = asyncio.new_event_loop()
background = set()


async def never():
    await loop.create_future()


def tasks(i):
    background.add(loop.create_task(never()))


local = threading.local()


def thread_local(i):
    if not hasattr(local, "pieces"):
        local.pieces = []
    local.pieces.append(Session(i))


def local_variable():
    pieces = []
    made = 0
    for _ in commands():
        for i in range(STEP):
            pieces.append(Session(made))
            made += 1


notebook = {"__name__": "notebook"}
exec("""
pieces = []
def run(session):
    pieces.append(session)
""", notebook)
run = notebook["run"]
del notebook


def namespace(i):
    """What a notebook or a plug-in runs: a namespace that is no module."""
    run(Session(i))


alive, by_id = [], weakref.WeakValueDictionary()


def weak(i):
    """Two containers have each session, and one of them holds it."""
    session = Session(i)
    alive.append(session)
    by_id[i] = session


libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p


def malloc(i):
    ctypes.memset(libc.malloc(400), 1, 400)


kept = []


def fragmentation(i):
    """After each peak one object in sixty is left, and keeps its pool."""
    if i % STEP == 0:
        records = [Session(i) for _ in range(20 * STEP)]
        kept[:] = records[::60]


class Bounded:
    def __init__(self, most):
        self.most, self.items = most, collections.OrderedDict()

    def put(self, i):
        self.items[i] = Session(i)
        if len(self.items) > self.most:
            self.items.popitem(last=False)


bounded_cache_ = Bounded(3000)


def bounded_cache(i):
    bounded_cache_.put(i)


@functools.lru_cache(maxsize=100_000)
def load_some(i):
    return Session(i)


def bounded_lru(i):
    load_some(i)


warm = {}


def warm_up(i):
    if len(warm) < 2 * STEP:
        warm[i] = Session(i)


MODULES = ["decimal", "email.mime.text", "http.client", "xml.dom.minidom", "unittest", "sqlite3", "logging.handlers", "ctypes", "csv", "tarfile",
           "zipfile", "concurrent.futures", "multiprocessing.pool", "http.server", "xmlrpc.client", "pydoc", "doctest", "turtledemo", "smtplib", "ftplib"]


def imports(i):
    if i % (STEP // 5) == 0 and MODULES:
        try:
            importlib.import_module(MODULES.pop(0))
        except ImportError:
            pass


held_maps = []


def maps(i):
    if i % STEP == 0:
        file = tempfile.TemporaryFile()
        file.truncate(8 << 20)
        one = mmap.mmap(file.fileno(), 8 << 20)
        one[:: mmap.PAGESIZE] = b"x" * len(one[:: mmap.PAGESIZE])
        held_maps.append(one)


shared = [Session(i) for i in range(STEP if WHICH == "fork" else 0)]


def fork(i):
    """A child that touches what it shares with its parent: the parent grows by nothing of its own."""
    if i % STEP == 0:
        pid = os.fork()
        if not pid:
            for one in shared:
                one.id = one.id
            os._exit(0)
        os.waitpid(pid, 0)


if WHICH == "local_variable":

    def commands():
        yield
        print("ready", flush=True)
        for _ in sys.stdin:
            yield
            print("done", flush=True)

    local_variable()
else:
    work = globals()[WHICH]

    def part():
        global made
        for _ in range(STEP):
            work(made)
            made += 1
        if WHICH == "tasks":
            loop.call_soon(loop.stop)
            loop.run_forever()

    part()
    print("ready", flush=True)
    for _ in sys.stdin:
        part()
        print("done", flush=True)
