"""As waiting.py, of several processes. Usage: waiting_processes.py STATE [START-METHOD]."""
import multiprocessing, os, queue, signal, subprocess, sys, threading, time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.managers import BaseManager

from waiting import ready, start, until


def fork_locked():
    """Dead: copied locked by fork."""

    class Log:
        lock = threading.Lock()

        def emit(self):
            with self.lock:
                held.set()
                time.sleep(600)

    log, held = Log(), threading.Event()
    start("logger", log.emit)
    held.wait()
    pid = os.fork()
    if not pid:
        log.emit()
        os._exit(0)
    ready()
    os.waitpid(pid, 0)


def fork_under_lock():
    """Dead: the parent forks inside of the `with` itself, so that its very frames are copied too."""

    class Log:
        lock = threading.Lock()

        def emit(self):
            with self.lock:
                pass

        def begin(self):
            with self.lock:
                child = mp.Process(target=self.emit, name="kid")
                child.start()
            ready()
            child.join()

    Log().begin()


def openmp():
    """A child of fork that uses a team of OpenMP threads which stayed in the parent. The second argument is the library."""
    import ctypes

    gomp = ctypes.CDLL(sys.argv[2])
    work = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda _: None)
    gomp.GOMP_parallel(work, None, 4, 0)
    pid = os.fork()
    if not pid:
        gomp.GOMP_parallel(work, None, 4, 0)
        os._exit(0)
    ready()
    os.waitpid(pid, 0)


def file_locks():
    """A certain cycle of two processes over flock, which the kernel does not look for."""
    import fcntl, tempfile

    one, other = (tempfile.NamedTemporaryFile(prefix="pellucid-test-") for _ in range(2))
    going, coming = os.pipe(), os.pipe()
    pid = os.fork()
    mine, theirs = (open(one.name), open(other.name)) if pid else (open(other.name), open(one.name))
    fcntl.flock(mine, fcntl.LOCK_EX)
    os.write((going if pid else coming)[1], b".")
    os.read((coming if pid else going)[0], 1)
    if pid:
        one.close(), other.close()  # which takes their names away
        ready()
        while threading.active_count() > 1:
            time.sleep(0.05)
    fcntl.flock(theirs, fcntl.LOCK_EX)


def take_slot(door):
    door.acquire()
    os._exit(9)


def mp_slots_lost():
    """Dead: the only slot went with the process that took it."""
    door = mp.BoundedSemaphore(1)
    taker = mp.Process(target=take_slot, args=(door,))
    taker.start()
    taker.join()
    waiter = mp.Process(target=want, args=(door,), name="w0")
    waiter.start()
    ready()
    waiter.join()


def hold_both(one, other, name_first, both):
    with one:
        both.wait()
        with other:
            pass


def mp_abba():
    """A certain cycle over two processes."""
    a, b, both = mp.Lock(), mp.RLock(), mp.Barrier(2)
    children = [
        mp.Process(target=hold_both, args=(a, b, "a", both), name="P1"),
        mp.Process(target=hold_both, args=(b, a, "b", both), name="P2"),
    ]
    for child in children:
        child.start()
    ready()
    for child in children:
        child.join()


def hold_on(lock, held):
    with lock:
        held.set()
        time.sleep(600)


def mp_foreign_holder():
    """A child of a bare fork that has become another user, with a count that says it had the lock; the parent has it."""
    import ctypes

    lock = mp.Lock()
    lock.acquire()
    pid = os.fork()
    if not pid:
        os.setgroups([]), os.setgid(65534), os.setuid(65534)
        ctypes.CDLL(None).prctl(4, 1)  # PR_SET_DUMPABLE: as an exec does, so that its new user may look at it
        want(lock)
    ready()
    os.waitpid(pid, 0)


def die_with(lock, held):
    lock.acquire()
    held.set()
    time.sleep(0.05)
    os._exit(9)


def want(lock):
    with lock:
        pass


def mp_holder(function=hold_on):
    """The holder by name; nothing is stuck."""
    lock, held = mp.Lock(), mp.Event()
    mp.Process(target=function, args=(lock, held), name="holder", daemon=True).start()
    held.wait()
    waiters = [mp.Process(target=want, args=(lock,), name="w%d" % number) for number in range(2)]
    for waiter in waiters:
        waiter.start()
    ready()
    for waiter in waiters:
        waiter.join()


def mp_holder_died():
    """Dead: no process has it."""
    mp_holder(die_with)


def in_condition(condition):
    with condition:
        condition.wait()


def in_event(event):
    event.wait(300)


def in_barrier(barrier):
    barrier.wait()


def in_door(door):
    door.acquire()
    time.sleep(600)


def in_queue(q):
    q.get()


def in_join(q):
    q.join()


def in_pipe(connection):
    connection.recv()


def in_poll(connection):
    connection.poll(300)


def in_value(value):
    with value.get_lock():
        time.sleep(600)


def in_put(q):
    q.put(1)
    q.put(2)


def mp_describe():
    """Every kind of object that processes share, a child for each; nothing is stuck."""
    condition, event, barrier, door, value = mp.Condition(), mp.Event(), mp.Barrier(3), mp.BoundedSemaphore(1), mp.Value("i")
    empty, joinable, simple, full, (ours, theirs) = mp.Queue(), mp.JoinableQueue(), mp.SimpleQueue(), mp.Queue(1), mp.Pipe()
    joinable.put(1)

    def child(name, function, *arguments):
        process = mp.Process(target=function, args=arguments, name=name, daemon=True)
        process.start()
        return process

    child("in-condition", in_condition, condition), child("in-event", in_event, event), child("in-barrier", in_barrier, barrier)
    child("has-slot", in_door, door), child("has-value", in_value, value)
    until(lambda: door._semlock._is_zero() and value.get_lock()._semlock._is_zero())
    child("wants-slot", in_door, door), child("wants-value", in_value, value), child("in-queue", in_queue, empty)
    child("in-join", in_join, joinable), child("in-simple", in_queue, simple), child("in-pipe", in_pipe, ours)
    child("in-put", in_put, full), child("in-poll", in_poll, theirs)
    ready()
    threading.Event().wait()


def produce_and_die(q):
    q.put(1)
    time.sleep(0.2)
    os._exit(1)


def consume(q):
    while True:
        q.get()


def mp_producer_died():
    """The consumer waits for ever."""
    q = mp.Queue()
    producer = mp.Process(target=produce_and_die, args=(q,))
    consumer = mp.Process(target=consume, args=(q,), name="consumer")
    producer.start(), consumer.start()
    producer.join()
    ready()
    consumer.join()


def read_one_and_die(q):
    q.get()
    time.sleep(0.2)
    os._exit(1)


def write_many(q):
    for number in range(10):
        q.put(number)


def mp_reader_died():
    """A full queue that nobody will read."""
    q = mp.Queue(2)
    reader, writer = mp.Process(target=read_one_and_die, args=(q,)), mp.Process(target=write_many, args=(q,), name="writer")
    reader.start(), writer.start()
    reader.join()
    ready()
    writer.join()


def mp_results():
    """A future of an executor, a result of a Pool and a lock, each of one worker; nothing is stuck."""
    executor, pool, lock, held = ProcessPoolExecutor(2, mp_context=mp), mp.Pool(2), mp.Lock(), mp.Event()
    future, result = executor.submit(slow, 1), pool.apply_async(slow, (2,))
    mp.Process(target=hold_on, args=(lock, held), name="holder", daemon=True).start()
    held.wait()

    def ask():
        future.result()

    def fetch():
        result.get()

    start("asker", ask), start("fetcher", fetch), start("locker", want, lock)
    ready()
    time.sleep(600)


def mp_executor_wants_a_lock():
    """A certain cycle: the worker wants what the one has who waits for its result."""
    lock = mp.Lock()
    with ProcessPoolExecutor(1, mp_context=mp, initializer=lend, initargs=(lock,)) as executor, lock:
        ready()
        executor.submit(use_lent, 1).result()


def lend(lock):
    global lent
    lent = lock


def use_lent(number):
    with lent:
        return number


def mp_pool_wants_a_lock():
    """The workers want what the one has who waits for them: no task is lost."""
    lock = mp.Lock()
    pool = mp.Pool(2, lend, (lock,))
    with lock:
        ready()
        pool.map(use_lent, range(4))


def put_much(q):
    q.put(b"z" * 2_000_000)


def mp_join_before_drain():
    """Parent, child and its feeder."""
    q = mp.Queue()
    child = mp.Process(target=put_much, args=(q,), name="producer")
    child.start()
    ready()
    child.join()
    q.get()


def send_first(connection):
    while True:
        connection.send(b"x" * 300000)
        connection.recv()


def mp_pipe_full():
    """Both send, nobody receives."""
    ours, theirs = mp.Pipe()
    child = mp.Process(target=send_first, args=(theirs,), name="echo")
    child.start()
    ready()
    send_first(ours)


def die_on_three(number):
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def mp_pool_killed():
    """A lost task: map() never returns."""
    with mp.Pool(2) as pool:
        ready()
        pool.map(die_on_three, range(8), chunksize=1)


def mp_pool_killed_join():
    """A lost task: join() never returns."""
    pool = mp.Pool(2)
    for number in range(5):
        pool.apply_async(die_on_three, (number,))
    pool.close()
    ready()
    pool.join()


def take_three(stack):
    for _ in range(3):
        stack.get()


class Server(BaseManager):
    pass


Server.register("LifoQueue", queue.LifoQueue)


def mp_manager():
    """A proxy call that waits in the manager; nothing is stuck."""
    server = Server(ctx=mp)
    server.start()
    stack = server.LifoQueue()
    stack.put(1), stack.put(2)
    child = mp.Process(target=take_three, args=(stack,), name="taker")
    child.start()
    ready()
    child.join()


def unread_child():
    """A child that writes, a parent that waits for its end."""
    child = subprocess.Popen([sys.executable, "-c", "print('x' * 1000000)"], stdout=subprocess.PIPE)
    ready()
    child.wait()


def orphan():
    """A daemon child, which its parent can't end when it is killed."""
    mp.Process(target=slow, args=(1,), name="left-alone", daemon=True).start()
    ready()
    time.sleep(600)


def slow(number):
    time.sleep(600)


def healthy_pools():
    """Idle pools and executors, queue workers, a semaphore at work; the main thread only waits to be told to stop."""
    pool = mp.Pool(2)
    pool.map(str, range(4))
    q = mp.Queue()
    workers = [mp.Process(target=consume, args=(q,), daemon=True) for _ in range(2)]
    for worker in workers:
        worker.start()
    q.put(1)
    ready()
    threading.Event().wait()


def healthy_executor():
    """An idle ProcessPoolExecutor, one task at work in a Pool, apply_async with a timeout."""
    executor = ProcessPoolExecutor(2, mp_context=mp)
    list(executor.map(str, range(4)))
    pool = mp.Pool(1)
    result = pool.apply_async(slow, (1,))
    ready()
    result.get(timeout=500)


if __name__ == "__main__":
    mp = multiprocessing.get_context(sys.argv[2] if sys.argv[2:] and "/" not in sys.argv[2] else "fork")
    globals()[sys.argv[1]]()
