"""One program in one state of waiting, for `pellucid waits`. Usage: waiting.py STATE; prints "ready" when it is about to be in it.

The first line of each function says what has to be found. Those that begin with `healthy_` must raise nothing. States of several processes
are in waiting_processes.py.
"""
import contextlib, queue, shutil, socket, subprocess, sys, tempfile, threading, time
from concurrent.futures import Future, ThreadPoolExecutor


def start(name, function, *arguments, daemon=True):
    thread = threading.Thread(name=name, target=function, args=arguments, daemon=daemon)
    thread.start()
    return thread


def ready(after=0.3):
    def say():
        time.sleep(after)
        print("ready", flush=True)

    threading.Thread(target=say, daemon=True).start()


def until(there):
    while not there():
        time.sleep(0.01)


class Account:
    def __init__(self):
        self._lock = threading.Lock()
        self.rlock = threading.RLock()


def pay(one, other, both):
    with one._lock:
        both.wait()
        with other._lock:
            pass


def pay_r(one, other, both):
    with one.rlock:
        both.wait()
        with other.rlock:
            pass


def pay_a(one, other, both):
    one._lock.acquire()
    try:
        both.wait()
        other._lock.acquire()
    finally:
        one._lock.release()


def abba(function=pay):
    """A certain cycle pay-1, pay-2."""
    a, b, both = Account(), Account(), threading.Barrier(2)
    threads = [start("pay-1", function, a, b, both), start("pay-2", function, b, a, both)]
    ready()
    for thread in threads:
        thread.join()


def abba_rlock():
    """A certain cycle, by the owners."""
    abba(pay_r)


def abba_acquire():
    """A likely cycle; the main thread lives."""
    a, b, both = Account(), Account(), threading.Barrier(2)
    start("pay-1", pay_a, a, b, both), start("pay-2", pay_a, b, a, both)
    ready()
    time.sleep(600)


def four_in_a_ring():
    """A certain cycle of four, over an array of locks."""
    forks, seated = [threading.Lock() for _ in range(4)], threading.Barrier(4)

    def dine(seat):
        with forks[seat]:
            seated.wait()
            with forks[(seat + 1) % 4]:
                pass

    for seat in range(4):
        start("philosopher-%d" % seat, dine, seat)
    ready()
    time.sleep(600)


def join_while_holding():
    """A certain cycle MainThread, flusher."""

    class Service:
        def __init__(self):
            self.lock = threading.Lock()

        def run(self):
            going.wait()
            with self.lock:
                pass

        def stop(self, thread):
            with self.lock:
                going.set()
                ready()
                thread.join()

    going, service = threading.Event(), Service()
    service.stop(start("flusher", service.run))


def taken_twice():
    """A certain cycle of one."""
    lock = threading.Lock()

    def again():
        with lock:
            with lock:
                pass

    start("greedy", again)
    ready()
    time.sleep(600)


def wrapped():
    """A likely cycle through a lock of the program's own."""

    class Guard:
        def __init__(self):
            self.inner = threading.Lock()

        def __enter__(self):
            self.inner.acquire()
            return self

        def __exit__(self, *error):
            self.inner.release()

    a, b, both = Guard(), Guard(), threading.Barrier(2)

    def use(one, other):
        with one:
            both.wait()
            with other:
                pass

    start("use-1", use, a, b), start("use-2", use, b, a)
    ready()
    time.sleep(600)


def managed():
    """A certain cycle through contextlib."""
    a, b, both = threading.Lock(), threading.Lock(), threading.Barrier(2)

    @contextlib.contextmanager
    def locked(lock):
        with lock:
            yield

    def one():
        with locked(a):
            both.wait()
            with locked(b):
                pass

    def two():
        with contextlib.ExitStack() as stack:
            stack.enter_context(b)
            both.wait()
            with a:
                pass

    start("gen", one), start("stack", two)
    ready()
    time.sleep(600)


def owner_gone():
    """Dead: the thread that took the RLock has ended."""
    lock, taken = threading.RLock(), threading.Event()

    def wait_for_it():
        taken.wait()
        with lock:
            pass

    start("patient", wait_for_it)  # first: a thread that starts later may be given the ident of the one that has ended
    start("careless", lock.acquire).join()
    taken.set()
    time.sleep(0.3)
    print("ready", flush=True)
    time.sleep(600)


def queues_full():
    """Both in put(), nobody takes."""
    one, two = queue.Queue(2), queue.Queue(2)

    def stage(source, target):
        while True:
            for number in range(3):
                target.put(number)
            source.get()

    threads = [start("left", stage, one, two), start("right", stage, two, one)]
    ready()
    for thread in threads:
        thread.join()


def queue_empty():
    """The consumer is joined, and nobody puts."""
    work = queue.Queue()

    def consume():
        while True:
            work.get()

    thread = start("consumer", consume)
    work.put(1)
    ready()
    thread.join()


def slots_lost():
    """Both slots were taken by threads that have ended."""
    door = threading.BoundedSemaphore(2)

    def take():
        door.acquire()

    def want_one():
        with door:
            pass

    for number in range(2):
        start("taker-%d" % number, take).join()
    thread = start("locked-out", want_one)
    ready()
    thread.join()


def future_forgotten():
    """A result that nobody will set."""
    future = Future()

    def wait_for_it():
        future.result()

    thread = start("hopeful", wait_for_it)
    ready()
    thread.join()


def event_forgotten():
    """Nobody is left who could set it."""
    event = threading.Event()
    thread = start("patient", event.wait)
    ready()
    thread.join()


def executor_starved():
    """The only worker waits for a task that it would have to do itself."""
    executor = ThreadPoolExecutor(1, "ex")

    def outer():
        return executor.submit(time.sleep, 0).result()

    ready()
    executor.submit(outer).result()


# What has to be described, and is not stuck.


def describe():
    """Condition, Semaphore, Event with timeout, Barrier, Timer, LifoQueue, PriorityQueue, SimpleQueue, Future, join, subprocess, recv."""
    dish, door, event, gate = threading.Condition(), threading.Semaphore(3), threading.Event(), threading.Barrier(4)

    class ThreadPool:
        def __init__(self):
            self.lock = threading.Lock()

        def work(self):
            with self.lock:
                time.sleep(600)

    pool = ThreadPool()

    def eat(cv):
        with cv:
            cv.wait()

    def visit(s, pool):
        with s:
            pool.work()

    def impatient(e, t):
        while not e.is_set():
            e.wait(t)

    start("eater", eat, dish)
    for number in range(6):
        start("visitor_%d" % number, visit, door, pool)
    start("blocking", event.wait)
    start("non-blocking", impatient, event, 300)
    for number in range(2):
        start("runner-%d" % number, gate.wait)
    timer = threading.Timer(500, print)
    timer.name, timer.daemon = "alarm", True
    timer.start()
    lifo, most, simple = queue.LifoQueue(), queue.PriorityQueue(1), queue.SimpleQueue()
    most.put(1)

    def take_lifo():
        lifo.get()

    def put_most():
        most.put(2)

    def take_simple():
        simple.get()

    start("take-lifo", take_lifo), start("put-most", put_most), start("take-simple", take_simple)
    executor = ThreadPoolExecutor(1, "exec")
    answer = executor.submit(time.sleep, 500)

    def ask():
        answer.result()

    asker = start("asker", ask)
    start("joiner", asker.join)
    start("shell", subprocess.run, ["sleep", "500"])
    ours, theirs = socket.socketpair()
    start("receiver", ours.recv, 10)

    class Door:
        def __init__(self):
            self.bolt = threading.Lock()

        def acquire(self):
            self.bolt.acquire()

        def release(self):
            self.bolt.release()

    front, desk = Door(), threading.Lock()

    def pass_through():
        front.acquire()
        time.sleep(600)
        front.release()

    def serve(connection):
        with desk:
            connection.recv(10)

    def complain():
        with desk:
            pass

    start("passes", pass_through), start("clerk", serve, theirs)
    until(lambda: front.bolt.locked() and desk.locked())
    start("stands-before", pass_through), start("customer", complain)
    folder = tempfile.mkdtemp()
    with open(folder + "/slow_to_import.py", "w") as file:
        file.write("import sys, time\nsys.importing = True\ntime.sleep(600)\n")
    sys.path.insert(0, folder)

    def bring():
        import slow_to_import

    start("imports", bring)
    until(lambda: hasattr(sys, "importing"))
    start("imports-too", bring)
    shutil.rmtree(folder)
    ready(0.5)
    time.sleep(600)


def healthy_workers():
    """Idle workers, an idle executor, a lock that serves as a signal, and a main thread that only waits to be told to stop."""
    work, signal_ = queue.Queue(), threading.Lock()

    def worker():
        while True:
            work.get()

    for number in range(3):
        start("worker-%d" % number, worker)
    executor = ThreadPoolExecutor(2)
    list(executor.map(str, range(4)))
    ready()
    threading.Event().wait()


def healthy_moving():
    """Contended locks that move, spinners, a handed-over lock."""
    a, b, baton = threading.Lock(), threading.RLock(), threading.Lock()

    def busy():
        while True:
            with a:
                with b:
                    time.sleep(0.001)

    def spin():
        while True:
            sum(range(1000))

    def handoff():
        baton.acquire()
        baton.acquire()

    for number in range(4):
        start("busy-%d" % number, busy)
    start("spin", spin), start("handoff", handoff)
    ready()
    time.sleep(600)


def healthy_handed_over():
    """A lock that is a signal: who takes it waits for who waits for it, and somebody else gives it back."""
    baton = threading.Lock()
    baton.acquire()

    def runner():
        baton.acquire()

    def starter():
        time.sleep(600)
        baton.release()

    start("starter", starter)
    thread = start("runner", runner)
    ready()
    thread.join()


def gil():
    """Two threads that compute, and take turns."""

    def spin():
        while True:
            sum(range(1000))

    start("spin-1", spin), start("spin-2", spin)
    ready()
    time.sleep(600)


if __name__ == "__main__":
    globals()[sys.argv[1]]()
