"""gevent: two greenlets that hold what the other needs, one that waits for an event, one asleep; prints "ready". Needs gevent."""
import gevent
from gevent.event import Event
from gevent.lock import BoundedSemaphore

one, two, never = BoundedSemaphore(1), BoundedSemaphore(1), Event()


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


def patient():
    never.wait()


def sleeper():
    gevent.sleep(300)


all_of_them = [gevent.spawn(function) for function in (first, second, patient, sleeper)]
gevent.sleep(0.2)
print("ready", flush=True)
gevent.joinall(all_of_them)
