"""Garbage, references that C code forgot, equal strings, empty containers, one large object, and a class with a hostile name. It says "ready"."""
import ctypes
import gc
import sys

gc.disable()


class Ring:
    def __init__(self, i):
        self.me, self.pad = self, bytes(400 + i % 2)


class Forgotten:
    def __init__(self, i):
        self.i = i


class Kept:
    pass


for i in range(6000):
    Ring(i)
for i in range(3000):
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(Forgotten(i)))
gc.garbage.append(Kept())
texts = ["/".join(["customer", str(i % 40), "x" * 60]) for i in range(30_000)]
empty = [{} for _ in range(40_000)]
blob = b"z" * (8 << 20)
Evil = type("\x1b[31mEvil\u202e", (), {})
evils = [Evil() for _ in range(20_000)]
print("ready", flush=True)
sys.stdin.read()
