"""Uses memory in a way that is no leak of the heap: `costly.py faults|threads|descriptors|shared|giant`; prints "ready" and goes on for ever.

faults: takes and returns 16 MiB again and again · threads: one more each 50 ms · descriptors: one more each 20 ms · shared: 1 MiB more of
/dev/shm each 50 ms, up to 100 · giant: one bytes of 100 MiB
"""

import mmap
import os
import sys
import tempfile
import threading
import time

way = sys.argv[1]
kept = []
if way == "shared":
    descriptor, path = tempfile.mkstemp(dir="/dev/shm")
    os.unlink(path)
    os.truncate(descriptor, 100 << 20)
    shared = mmap.mmap(descriptor, 100 << 20)
if way == "giant":
    kept.append(b"x" * (100 << 20))
print("ready", flush=True)
step = 0
while True:
    if way == "faults":
        block = mmap.mmap(-1, 16 << 20)
        for at in range(0, 16 << 20, mmap.PAGESIZE):
            block[at] = 1
        block.close()
    elif way == "threads":
        threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
        time.sleep(0.05)
    elif way == "descriptors":
        kept.append(open(os.devnull))
        time.sleep(0.02)
    elif way == "shared" and step < 100:
        shared[step << 20 : (step + 1) << 20] = b"x" * (1 << 20)
        time.sleep(0.05)
    else:
        time.sleep(1)
    step += 1
