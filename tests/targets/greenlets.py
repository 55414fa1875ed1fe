"""gevent: two greenlets that hold what the other needs, and others that wait for all sorts of things; prints "ready". Needs gevent.

Usage: greenlets.py [healthy|timed]: the former takes its locks in one order, the latter gives up after a while.
"""
import sys

import gevent
from gevent.event import AsyncResult, Event
from gevent.lock import BoundedSemaphore, RLock
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


class Store:
    def __init__(self):
        self.lock = RLock()

    def owner(self):
        self.lock.acquire()
        gevent.sleep(300)

    def borrower(self):
        with self.lock:
            pass


def limited(mine, other):
    with mine:
        gevent.sleep(0.05)
        other.acquire(timeout=200)


def limited_too(mine, other):
    with mine:
        gevent.sleep(0.05)
        with gevent.Timeout(200):
            other.acquire()


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


def limited_one():
    limited(one, two)


def limited_two():
    limited_too(two, one)


store = Store()
locking = {"": [first, second], "healthy": [busy, busy, busy], "timed": [limited_one, limited_two]}["".join(sys.argv[1:])]
all_of_them = [gevent.spawn(function) for function in (*locking, patient, sleeper, taker, asker, store.owner, store.borrower)]
all_of_them.append(gevent.spawn(joiner, all_of_them[len(locking)]))
gevent.sleep(0.2)
print("ready", flush=True)
gevent.joinall(all_of_them)
