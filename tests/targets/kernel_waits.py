"""One thread in one system call. Usage: kernel_waits.py CALL [SECONDS]; prints "ready MONOTONIC-TIME FD..." just before it waits."""

import ctypes, os, select, socket, sys, threading, time

SECONDS = float(sys.argv[2]) if len(sys.argv) > 2 else None
kept = []


def ready(*numbers):
    print("ready", time.monotonic(), *numbers, flush=True)


def pair():
    one, two = socket.socketpair()
    kept.extend((one, two))
    return one


def sleep():
    ready()
    time.sleep(SECONDS)


def recv():
    one = pair()
    one.settimeout(SECONDS)
    ready(one.fileno())
    one.recv(1)


def send():
    one = pair()
    one.settimeout(0.1)
    try:
        while True:
            one.send(b"x" * 65536)
    except socket.timeout:
        pass
    one.settimeout(SECONDS)
    ready(one.fileno())
    one.sendall(b"x" * (1 << 24))


def accept():
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(5)
    listener.settimeout(SECONDS)
    ready(listener.fileno())
    listener.accept()


def selecting():
    one, two = pair(), pair()
    ready(one.fileno(), two.fileno())
    select.select([one, two], [], [one], SECONDS)


def polling():
    one, two, waiting = pair(), pair(), select.poll()
    waiting.register(one, select.POLLIN)
    waiting.register(two, select.POLLIN | select.POLLPRI)
    ready(one.fileno(), two.fileno())
    waiting.poll(None if SECONDS is None else SECONDS * 1000)


def epolling():
    one, two, waiting = pair(), pair(), select.epoll()
    kept.append(waiting)
    waiting.register(one, select.EPOLLIN)
    waiting.register(two, select.EPOLLIN | select.EPOLLET)
    ready(one.fileno(), two.fileno())
    waiting.poll(-1 if SECONDS is None else SECONDS)


def ppolling():
    class Timespec(ctypes.Structure):
        _fields_ = [("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long)]

    class Pollfd(ctypes.Structure):
        _fields_ = [("fd", ctypes.c_int), ("events", ctypes.c_short), ("revents", ctypes.c_short)]

    one = pair()
    watched = (Pollfd * 2)((one.fileno(), 1, 0), (-1, 1, 0))
    limit = ctypes.byref(Timespec(int(SECONDS), 0)) if SECONDS else None
    ready(one.fileno())
    ctypes.CDLL(None).ppoll(watched, 2, limit, None)


def event():
    ready()
    threading.Event().wait(SECONDS)


def pipe():
    reader, writer = os.pipe()
    ready(reader)
    os.read(reader, 1)


def signals():
    import signal

    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    ready()
    signal.sigtimedwait([signal.SIGUSR1], SECONDS)


def many():
    """SECONDS threads in time.sleep."""
    for _ in range(int(SECONDS) - 1):
        threading.Thread(target=time.sleep, args=(100,), daemon=True).start()
    ready()
    time.sleep(100)


def churn():
    """Threads that live for a millisecond, for ever."""
    ready()
    while True:
        alive = [threading.Thread(target=time.sleep, args=(0.001,)) for _ in range(20)]
        for thread in alive:
            thread.start()
        for thread in alive:
            thread.join()


globals()[sys.argv[1]]()
