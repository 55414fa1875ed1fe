"""A parent that sleeps in select whatever becomes of its children. Usage: arbiter.py CHILDREN DEADLOCKED: the first so many are.

Each child has two idle workers of a pool as well. It prints `child PID` for each, and `ready` when all of them are about to wait.
"""

import os
import queue
import select
import sys
import threading


def pay(one, other, both):
    with one:
        both.wait()
        with other:
            pass


def child(deadlocked, ready):
    items = queue.Queue()
    for number in range(2):
        threading.Thread(target=items.get, name=f"idle-{number}", daemon=True).start()
    if deadlocked:
        a, b, both = threading.Lock(), threading.Lock(), threading.Barrier(2)
        threading.Thread(target=pay, args=(a, b, both), name="pay-1", daemon=True).start()
        threading.Thread(target=pay, args=(b, a, both), name="pay-2", daemon=True).start()
    os.write(ready, b".")
    waking, _writing = os.pipe()
    while True:
        select.select([waking], [], [], 0.5)


children, deadlocked = map(int, sys.argv[1:])
reading, ready = os.pipe()
for number in range(children):
    pid = os.fork()
    if not pid:  # what is printed is flushed by the parent alone
        child(number < deadlocked, ready)
    print("child", pid)
told = 0
while told < children:
    told += len(os.read(reading, children))
print("ready", flush=True)
waking, _writing = os.pipe()
while True:
    select.select([waking], [], [], 0.5)
