"""A thread that runs a subinterpreter, and a subinterpreter that nobody runs; prints "ready" when the first one sleeps."""
import os, sys, threading, time

try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters

reading, writing = os.pipe()
SOURCE = f"""
import os, time
def within():
    os.write({writing}, b"x")
    time.sleep(3600)
within()
"""


def outside():
    interpreters.run_string(running, SOURCE)


running, idle = interpreters.create(), interpreters.create()
threading.Thread(target=outside, name="outside", daemon=True).start()
os.read(reading, 1)
time.sleep(0.1)
print("ready", flush=True)
time.sleep(3600)
