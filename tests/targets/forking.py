"""A thread forks: the child prints "child PID TID-OF-THE-THREAD", the parent prints "ready"; both sleep."""
import os, sys, threading, time


def rest():
    time.sleep(3600)


def fork():
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, b"x")
        rest()
    os.read(reading, 1)
    print(f"child {child} {threading.get_native_id()}", flush=True)
    print("ready", flush=True)
    rest()


threading.Thread(target=fork, name="forker", daemon=True).start()
rest()
