"""A heap of every kind of object. It says "ready"; for each line on stdin, a path, it writes there what it knows of its own objects:
a count, then (id, id of the type, sys.getsizeof) of each, 64 bits each, then the names of the types by id as JSON. With "busy" as its
second argument a thread makes and drops objects meanwhile, as fast as it can.
"""
import array
import collections
import datetime
import decimal
import enum
import functools
import gc
import io
import json
import re
import struct
import sys
import threading

SIZE = int(sys.argv[1])


class Plain:
    def __init__(self, i):
        self.a, self.b, self.c = i + 1000, f"val{i}", [i]


class Slots:
    __slots__ = ("x", "y")

    def __init__(self, i):
        self.x, self.y = float(i), (i + 10**6, f"t{i}")


class Node: pass
class Dict(dict): pass
class List(list): pass
class Str(str): pass
class Int(int): pass
class Tuple(tuple): pass
class Colour(enum.Enum): RED = 1
class Busy: pass


Named = collections.namedtuple("Named", "a b c")


def generator(i):
    kept = [i]
    yield kept


def variety(i):
    running = generator(i)
    next(running)
    return [
        {f"k{i}": i * 1.5, "z": None}, {i, i + 1}, lambda i=i: i, b"x" * 700, Dict({i: i}), List([i]), Str(f"s{i}"), Int(i + 10**9), Tuple((i,)),
        Named(i, i, i), running, collections.deque(range(i % 300)), collections.OrderedDict((j, j) for j in range(i % 50)), bytearray(i),
        array.array("d", range(i % 100)), io.StringIO("abc" * (i % 100)), datetime.datetime(2020, 1, 1), decimal.Decimal(i) / 7,
        "é" * i, "€" * (i % 200), "\U0001f600" * (i % 77), "y" * i, set(range(i % 100)), frozenset(range(i % 30)), tuple(range(i % 200)),
        list(range(i % 300)), 10 ** (i % 400), collections.defaultdict(list, {j: [j] for j in range(i % 20)}), collections.Counter(f"abc{i}"),
        {j: j for j in range(i % 700)}, functools.partial(print, i), memoryview(b"abc%d" % i), slice(i, i), range(i), complex(i, i),
        threading.Lock(), object(), iter([i]), Exception(f"e{i}"), property(lambda s: 1), re.compile(f"a{i % 50}"), dict(Plain(i).__dict__),
    ]


held = []
for i in range(SIZE):
    node = Node()
    node.__dict__[f"zz{i}"] = i
    held += [Plain(i), Slots(i), node, {"a": i, "b": [i]}]
    if i % 10 == 0:
        held.append(variety(i))
held.append([b"Z" * 5_000_000, "q" * 3_000_000])


def truth(path):
    gc.disable()
    frontier = everything = gc.get_objects()
    seen = {id(one) for one in everything}
    ours = {id(seen), id(everything)}
    while frontier:
        new = []
        for one in gc.get_referents(*frontier):
            if id(one) not in seen and id(one) not in ours:
                seen.add(id(one))
                new.append(one)
        everything = everything + new
        frontier = new
    names = {id(type(one)): type(one).__name__ for one in everything}
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(everything)))
        for one in everything:
            file.write(struct.pack("<QQQ", id(one), id(type(one)), sys.getsizeof(one)))
        file.write(json.dumps(names).encode())


def churn():
    kept, i = {}, 0
    while True:
        one = Busy()
        one.x, one.y = [i], {"a": (i, str(i))}
        kept[i] = one
        kept.pop(i - 20_000, None)
        i += 1


gc.collect()
if sys.argv[2:] == ["busy"]:
    sys.setswitchinterval(0.001)
    threading.Thread(target=churn, daemon=True).start()
print("ready", flush=True)
for line in sys.stdin:
    truth(line.strip())
    print("written", flush=True)
