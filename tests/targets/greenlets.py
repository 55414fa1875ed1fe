"""gevent: two greenlets that hold what the other needs, and others that wait for all sorts of things; prints "ready". Needs gevent.

Usage: greenlets.py [healthy]: the latter takes its locks in one order.
"""
import sys

import gevent
from gevent.event import AsyncResult, Event
from gevent.lock import BoundedSemaphore
from gevent.queue import Queue

one, two, never, items, answer = BoundedSemaphore(1), BoundedSemaphore(1), Event(), Queue(), AsyncResult()


def first():
    with one:
        gevent.sleep(0.05)
        with two:
            pass


def second():
    with two:
        gevent.sleep(0.05)
        with one:
            pass


def busy():
    while True:
        with one:
            gevent.sleep(0.001)


def patient():
    never.wait()


def sleeper():
    gevent.sleep(300)


def taker():
    items.get()


def asker():
    answer.get()


def joiner(other):
    other.join()


locking = [busy, busy, busy] if sys.argv[1:] else [first, second]
all_of_them = [gevent.spawn(function) for function in (*locking, patient, sleeper, taker, asker)]
all_of_them.append(gevent.spawn(joiner, all_of_them[len(locking)]))
gevent.sleep(0.2)
print("ready", flush=True)
gevent.joinall(all_of_them)
