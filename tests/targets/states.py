"""One process in one state, for the rules of `why`. Usage: states.py STATE; prints "ready" when it is in it.

lock: a thread waits for a lock that MainThread holds and sleeps on · spin: runs in hot() · sleep: time.sleep(100) ·
child: waits for a sleeping child · pipe: reads a pipe that nobody writes · idle: queue workers, an executor and an accept loop ·
gil: two threads spin · flock: waits for a file lock · threads: 50 threads in event waits · loop: an idle asyncio server
"""

import os, queue, socket, subprocess, sys, tempfile, threading, time


def hot():
    total = 0
    while True:
        for number in range(100):
            total += number


def lock():
    held = threading.Lock()

    def pay():
        with held:
            pass

    with held:
        threading.Thread(target=pay, name="payer", daemon=True).start()
        ready(0.2)
        time.sleep(100)


def spin():
    threading.Thread(target=ready, args=(0.3,)).start()
    hot()


def sleep():
    ready()
    time.sleep(100)


def child():
    process = subprocess.Popen([sys.executable, "-c", "import time\ndef nap():\n    time.sleep(100)\nnap()"])
    print("child", process.pid, flush=True)
    ready(0.5)
    process.wait()


def pipe():
    reader, writer = os.pipe()
    ready()
    os.read(reader, 1)


def idle():
    from concurrent.futures import ThreadPoolExecutor

    work = queue.Queue()

    def worker():
        while True:
            work.get()

    for number in range(3):
        threading.Thread(target=worker, name="worker-%d" % number, daemon=True).start()
    pool = ThreadPoolExecutor(2)
    list(pool.map(lambda _: time.sleep(0.05), range(4)))
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    ready(0.2)
    listener.accept()


def gil():
    for number in range(2):
        threading.Thread(target=hot, name="spinner-%d" % number, daemon=True).start()
    ready(0.3)
    time.sleep(100)


def flock():
    import fcntl

    path = tempfile.mktemp(prefix="pellucid-test-")
    one, two = open(path, "w"), open(path, "w")
    os.unlink(path)
    fcntl.flock(one, fcntl.LOCK_EX)
    ready()
    fcntl.flock(two, fcntl.LOCK_EX)


def threads():
    event = threading.Event()

    def inner():
        event.wait()

    def outer():
        inner()

    for number in range(49):
        threading.Thread(target=outer, name="waiter-%d" % number, daemon=True).start()
    ready(0.3)
    event.wait()


def loop():
    import asyncio

    async def serve():
        server = await asyncio.start_server(lambda *streams: None, "127.0.0.1", 0)
        ready()
        await server.serve_forever()

    asyncio.run(serve())


def ready(after=0.0):
    time.sleep(after)
    print("ready", flush=True)


{function.__name__: function for function in (lock, spin, sleep, child, pipe, idle, gil, flock, threads, loop)}[
    sys.argv[1]
]()
