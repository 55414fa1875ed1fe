"""The first lessons on threads and processes as they are taught everywhere, held at the moment that each is about. Usage: lessons.py LESSON; prints "ready".

None of them is stuck. What a lesson does in a second takes ten minutes here.
"""
import logging
import multiprocessing
import os
import sys
import threading
import time
from multiprocessing import Lock, Pool, Process, Queue, current_process
from multiprocessing.managers import BaseManager
from queue import LifoQueue

LONG = 600


def ready(after=0.7):
    def say():
        time.sleep(after)
        print("ready", flush=True)

    threading.Thread(target=say, daemon=True).start()


def until(there):
    while not there():
        time.sleep(0.01)


# Condition: consumers wait until the producer says that there is something.


def consumer(cv):
    with cv:
        cv.wait()
        time.sleep(LONG)


def producer(cv):
    with cv:
        cv.notify_all()


def condition(producing=False):
    condition = threading.Condition()
    cs1 = threading.Thread(name="consumer1", target=consumer, args=(condition,))
    cs2 = threading.Thread(name="consumer2", target=consumer, args=(condition,))
    pd = threading.Thread(name="producer", target=producer, args=(condition,))
    cs1.start()
    until(lambda: len(condition._waiters) == 1)
    cs2.start()
    until(lambda: len(condition._waiters) == 2)
    ready()
    if not producing:
        time.sleep(LONG)
    pd.start()


def condition_notified():
    """One consumer has been let through, and has the condition's lock; the other one wants it."""
    condition(producing=True)


# Semaphore: three of ten at work.


class ThreadPool(object):
    def __init__(self):
        super(ThreadPool, self).__init__()
        self.active = []
        self.lock = threading.Lock()

    def makeActive(self, name):
        with self.lock:
            self.active.append(name)
        time.sleep(LONG)

    def makeInactive(self, name):
        with self.lock:
            self.active.remove(name)


def f(s, pool):
    with s:
        name = threading.current_thread().name
        pool.makeActive(name)
        pool.makeInactive(name)


def semaphore():
    pool = ThreadPool()
    s = threading.Semaphore(3)
    for i in range(10):
        t = threading.Thread(target=f, name="thread_" + str(i), args=(s, pool))
        t.start()
    ready()


# Event: one waits for ever, one only for a while.


def wait_for_event(e):
    e.wait()


def wait_for_event_timeout(e, t):
    while not e.is_set():
        event_is_set = e.wait(t)


def event():
    e = threading.Event()
    t1 = threading.Thread(name="blocking", target=wait_for_event, args=(e,))
    t1.start()
    t2 = threading.Thread(name="non-blocking", target=wait_for_event_timeout, args=(e, 200))
    t2.start()
    ready()
    time.sleep(LONG)
    e.set()


# Threads by a function, and by a class.


class MyThread(threading.Thread):
    def __init__(self, func, args, name=""):
        threading.Thread.__init__(self, name=name)
        self.func = func
        self.args = args

    def run(self):
        self.func(*self.args)


def loop(nloop, nsec):
    time.sleep(nsec)


def threads():
    one = threading.Thread(target=loop, args=(0, LONG))
    other = MyThread(loop, (1, LONG), loop.__name__)
    background = threading.Thread(target=loop, args=(2, LONG), name="background", daemon=True)
    for thread in (one, other, background):
        thread.start()
    ready()
    for thread in (one, other):
        thread.join()


# Processes with and without a name.


def doubler(number):
    result = number * 2
    time.sleep(LONG)
    return result


def processes():
    procs = []
    for number in (5, 10):
        proc = Process(target=doubler, args=(number,))
        procs.append(proc)
        proc.start()
    proc = Process(target=doubler, name="Test", args=(2,))
    proc.start()
    procs.append(proc)
    daemon = Process(target=doubler, name="assistant", args=(3,), daemon=True)
    daemon.start()
    ready()
    for proc in procs:
        proc.join()


# A lock, and the log lines of several processes.


def printer(item, lock):
    lock.acquire()
    try:
        print(item, file=sys.stderr)
        time.sleep(LONG)
    finally:
        lock.release()


def lock():
    lock = Lock()
    for item in ["tango", "foxtrot", 10]:
        p = Process(target=printer, args=(item, lock))
        p.start()
        until(lock._semlock._is_zero)  # the first one has it
    ready()
    time.sleep(LONG)


def log_lines():
    """The main process has nothing left to do: what it waits for at its end is implied."""
    lock = Lock()
    multiprocessing.log_to_stderr()
    logger = multiprocessing.get_logger()
    logger.setLevel(logging.INFO)
    for item in ["tango", "foxtrot"]:
        p = Process(target=printer, args=(item, lock))
        p.start()
        until(lock._semlock._is_zero)
    if os.fork() == 0:  # the interpreter is about to end, and a thread of it could say nothing any more
        time.sleep(0.7)
        os.write(1, b"ready\n")
        os._exit(0)


# A queue whose last item says that it is the last.

sentinel = -1


def creator(data, q):
    for item in data:
        q.put(item)
        time.sleep(0.01 if item == 5 else LONG)


def my_consumer(q):
    while True:
        data = q.get()
        processed = data * 2
        if data is sentinel:
            break


def queue():
    q = Queue()
    data = [5, 10, 13, -1]
    process_one = Process(target=creator, args=(data, q))
    process_two = Process(target=my_consumer, args=(q,))
    process_one.start()
    process_two.start()
    q.close()
    q.join_thread()
    ready()
    process_one.join()
    process_two.join()


# A LifoQueue that a manager shares.


def run(lifo):
    num_msgs = 0
    while num_msgs < 3:
        s = lifo.get()
        num_msgs += 1


class MyManager(BaseManager):
    pass


MyManager.register("LifoQueue", LifoQueue)


def lifo():
    manager = MyManager()
    manager.start()
    lifo = manager.LifoQueue()
    lifo.put("first")
    lifo.put("second")
    p = Process(target=run, args=[lifo])
    p.start()
    ready()
    time.sleep(LONG)
    lifo.put("third")
    p.join()


# A pool.


def pool_map():
    pool = Pool(processes=3)
    ready()
    pool.map(doubler, [5, 10, 20])


def pool_async():
    pool = Pool(processes=3)
    result = pool.apply_async(doubler, (25,))
    ready()
    result.get(timeout=200)


if __name__ == "__main__":
    if sys.version_info >= (3, 14):
        multiprocessing.set_start_method("fork")  # as it was when these lessons were written
    globals()[sys.argv[1]]()
