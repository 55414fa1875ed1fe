"""Allocates in the ways that are named, then prints what CPython and malloc count themselves, as JSON, and sleeps.

records: 200,000 small dicts · tables: a list and a dict of half a million · giant: 40 MiB of bytes · blocks: 40,000 malloc(400) that
nobody frees · threads: two threads with blocks in arenas of their own, half of them freed · buffers: five of 1 MiB · reserved: 256 GiB of addresses, 4 MiB of
them used · corrupt: the head of a chunk is overwritten · arrays: 50 of NumPy
"""

import ctypes
import json
import sys
import threading
import time


class Info(ctypes.Structure):
    """struct mallinfo2, glibc 2.33."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()
    ]


libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]
libc.mallinfo2.restype = Info
kept = []
ways = set(sys.argv[1:])
if "records" in ways:
    kept.append([{"number": number, "text": str(number)} for number in range(200_000)])
if "tables" in ways:
    kept.append([number for number in range(500_000)])
    kept.append(dict.fromkeys(range(500_000)))
if "giant" in ways:
    kept.append(b"x" * (40 << 20))
if "blocks" in ways:
    for _ in range(40_000):
        ctypes.memset(libc.malloc(400), 1, 400)
if "buffers" in ways:
    kept.append([bytearray(b"x" * (1 << 20)) for _ in range(5)])
if "arrays" in ways:
    import numpy

    kept.append([numpy.ones(100_000) for _ in range(50)])


def allocate(done):
    blocks = [libc.malloc(90) for _ in range(30_000)]
    for block in blocks[::2]:
        libc.free(block)
    done.set()
    time.sleep(3600)


if "threads" in ways:
    for _ in range(2):
        done = threading.Event()
        threading.Thread(target=allocate, args=(done,), daemon=True).start()
        done.wait()
if "reserved" in ways:
    import mmap

    # 0x4000: MAP_NORESERVE
    kept.append(mmap.mmap(-1, 256 << 30, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000))
    kept[-1][: 4 << 20] = b"x" * (4 << 20)
if "corrupt" in ways:
    blocks = [libc.malloc(600) for _ in range(8000)]
    ctypes.c_size_t.from_address(blocks[1000] - 8).value = 0xDEADBEEF
info = libc.mallinfo2() if "corrupt" not in ways else Info()
told = {"blocks": sys.getallocatedblocks(), **{name: getattr(info, name) for name, _ in Info._fields_}}
print(json.dumps(told), flush=True)
time.sleep(3600)
