"""N - 1 threads that wait, a fifth each: for a Lock, for an item, for an Event, for a slot, and asleep with the lock. Usage: waiting_threads.py N.

Two of them hold what the other needs: that is what has to be found. WaitingThreads.java is the same program.
It prints `ready` when all of them wait.
"""

import queue
import sys
import threading
import time

threading.stack_size(256 * 1024)


class Work:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.items: queue.Queue = queue.Queue()
        self.started = threading.Event()
        self.door = threading.Semaphore(1)

    def hold(self) -> None:
        with self.lock:
            time.sleep(600)

    def want(self) -> None:
        with self.lock:
            pass

    def take(self) -> None:
        self.items.get()

    def listen(self) -> None:
        self.started.wait()

    def enter(self) -> None:
        with self.door:
            time.sleep(600)


def pay(one: threading.Lock, other: threading.Lock, both: threading.Barrier) -> None:
    with one:
        both.wait()
        with other:
            pass


work = Work()
bodies = [work.hold, work.want, work.take, work.listen, work.enter]
count = int(sys.argv[1])
for number in range(count - 3):
    threading.Thread(target=bodies[number % 5], name=f"worker-{number}", daemon=True).start()
a, b, both = threading.Lock(), threading.Lock(), threading.Barrier(2)
threading.Thread(target=pay, args=(a, b, both), name="pay-1", daemon=True).start()
threading.Thread(target=pay, args=(b, a, both), name="pay-2", daemon=True).start()
time.sleep(0.5)
print("ready", flush=True)
time.sleep(600)
