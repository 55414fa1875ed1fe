"""A stack that never holds still: twelve levels of calls that take well under a microsecond, below fourteen that stay.

Each line that calls names its callee and nothing else, so that a torn stack shows as a caller whose line calls someone else.
Prints "ready", then runs until it is killed. Arguments, all optional: how many frames stay, threads that wait beside it, and a file of 8
bytes into which it writes how often it got to the bottom.
"""
import mmap
import struct
import sys
import threading

STAY, WAITING, COUNTER = [*sys.argv[1:], *["14", "0", ""][len(sys.argv) - 1 :]]
sys.setrecursionlimit(100_000)
cnt = 0


def a0(): a1()
def b0(): b1()
def a1(): a2()
def b1(): b2()


def a2():
    a3()
    b3()


def b2():
    a3()
    b3()


def a3():
    a4()
    b4()


def b3():
    a4()
    b4()


def a4():
    a5()
    b5()


def b4():
    a5()
    b5()


def a5():
    a6()
    b6()


def b5():
    a6()
    b6()


def a6():
    a7()
    b7()


def b6():
    a7()
    b7()


def a7():
    a8()
    b8()


def b7():
    a8()
    b8()


def a8():
    a9()
    b9()


def b8():
    a9()
    b9()


def a9():
    a10()
    b10()


def b9():
    a10()
    b10()


def a10():
    a11()
    b11()


def b10():
    a11()
    b11()


def a11():
    global cnt
    cnt += sum_of_ten()


def b11():
    global cnt
    cnt += sum_of_ten()


def sum_of_ten():
    s = 0
    for i in range(10):
        s += i
    return s


def deep(d):
    if d > 0:
        deep(d - 1)
    else:
        bottom()


def bottom():
    a0()


def wait():
    EVER.wait()


def main():
    while True:
        deep(int(STAY))
        note()


def note():
    if TOLD is not None:
        TOLD[:8] = struct.pack("q", cnt)


def shared(path):
    with open(path, "r+b") as file:
        return mmap.mmap(file.fileno(), 8)


EVER = threading.Event()
TOLD = shared(COUNTER) if COUNTER else None
for _ in range(int(WAITING)):
    threading.Thread(target=wait, daemon=True).start()
print("ready", flush=True)
main()
