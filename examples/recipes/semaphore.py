"""Ten threads, of which three at a time may work, and one of these at a time may write its name down."""

import threading
import time


class ThreadPool:
    def __init__(self):
        self.active = []
        self.lock = threading.Lock()

    def make_active(self, name):
        with self.lock:
            self.active.append(name)
            time.sleep(60)


def work(s, pool):
    with s:
        pool.make_active(threading.current_thread().name)


pool = ThreadPool()
s = threading.Semaphore(3)
for i in range(10):
    threading.Thread(target=work, name=f"thread_{i}", args=(s, pool)).start()
