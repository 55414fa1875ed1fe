"""A heap of SIZE units of the usual kinds; it says "ready". A word on stdin makes it walk its own heap in that way, while it does nothing else,
and print how many objects it found and how many seconds that took.
"""
import gc
import select
import sys
import time


class Plain:
    def __init__(self, i):
        self.number, self.text, self.items = i + 1000, f"val{i}", [i]


class Slots:
    __slots__ = ("x", "y")

    def __init__(self, i):
        self.x, self.y = float(i), (i + 10**6, f"t{i}")


class Node:
    pass


def build(size):
    held = []
    for i in range(size):
        held += [Plain(i), Slots(i)]
        if i % 10 == 0:
            held += [{f"k{i}": i * 1.5, "z": None}, {i, i + 1}, lambda i=i: i, b"x" * 700]
        node = Node()
        node.__dict__["n"] = i
        held.append(node)
    return held


def walk():
    """Every object that gc reaches, with its size: what the table of `pellucid heap` has."""
    frontier = found = gc.get_objects()
    seen = {id(one) for one in found}
    sizes = {}
    while frontier:
        new = []
        for one in frontier:
            kind = type(one)
            count, size = sizes.get(kind, (0, 0))
            sizes[kind] = count + 1, size + sys.getsizeof(one, 0)
        for one in gc.get_referents(*frontier):
            if id(one) not in seen:
                seen.add(id(one))
                new.append(one)
        frontier = new
    return sum(count for count, _ in sizes.values())


def guppy():
    from guppy import hpy

    return hpy().heap().count


def objgraph():
    import objgraph

    return sum(objgraph.typestats().values())


def work():
    """Small steps until the next word comes; instead of objects, the longest that one took, in microseconds."""
    longest, last = 0.0, time.perf_counter()
    while not select.select([0], [], [], 0.001)[0]:
        kept = [object() for _ in range(100)]
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
        del kept
    return int(longest * 1e6)


def stop():
    return 0


held = build(int(sys.argv[1]))
gc.collect()
print("ready", flush=True)
for line in sys.stdin:
    began = time.perf_counter()
    try:
        count = globals()[line.strip()]()
        print(count, time.perf_counter() - began, flush=True)
    except Exception as error:
        print(0, 0, type(error).__name__, error, flush=True)
