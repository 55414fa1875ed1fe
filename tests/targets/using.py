"""Uses something up, or holds it; prints "ready" when it does. Usage: using.py WAY [PATH]

descriptors: all but two of 64 · close-wait: 12 connections whose clients have closed · zombies: 12 · one-zombie · cpus: 8 threads in C code ·
deleted (PATH, 300 kB) · writing (PATH stays open for writing) · worker: a multiprocessing child, whose parent can be killed ·
sqlite-writer, sqlite-waiter (PATH) · leak (opens PATH 50 times a second) · churn (opens and closes it) ·
heir (its child, sleep, has the socket that it listens on) · binds (a port, PATH, that is taken)
"""
import hashlib, multiprocessing, os, resource, socket, sqlite3, subprocess, sys, threading, time

way, path = sys.argv[1], (sys.argv + [""])[2]


def work():
    print("ready", os.getpid(), flush=True)
    time.sleep(100)


def burn():
    data = bytes(1 << 22)
    while True:
        hashlib.sha256(data)


if __name__ == "__main__":
    if way == "worker":
        multiprocessing.set_start_method(path)
        child = multiprocessing.Process(target=work)
        child.start()
        print("child", child.pid, flush=True)
        child.join()
    elif way == "descriptors":
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        kept = [open(__file__) for _ in range(62 - len(os.listdir("/proc/self/fd")) + 1)]
    elif way == "close-wait":
        listener = socket.create_server(("127.0.0.1", 0))
        kept = []
        for _ in range(12):
            client = socket.create_connection(listener.getsockname())
            kept.append(listener.accept()[0])
            client.close()
    elif way in ("zombies", "one-zombie"):
        for _ in range(12 if way == "zombies" else 1):
            if not os.fork():
                os._exit(0)
        time.sleep(0.3)
    elif way == "cpus":
        for _ in range(8):
            threading.Thread(target=burn, daemon=True).start()
        time.sleep(0.3)
    elif way == "deleted":
        kept = open(path, "wb")
        kept.write(os.urandom(300_000))
        kept.flush()
        os.unlink(path)
    elif way == "writing":
        kept = open(path, "wb")
    elif way == "heir":
        listener = socket.create_server(("127.0.0.1", 0))
        child = subprocess.Popen(["sleep", "100"], pass_fds=[listener.fileno()], stdout=subprocess.DEVNULL)
        print("child", child.pid, flush=True)
        print(listener.getsockname()[1], flush=True)
        listener.accept()
    elif way == "binds":
        print("ready", flush=True)
        while True:
            with socket.socket() as taken:
                try:
                    taken.bind(("127.0.0.1", int(path)))
                except OSError:
                    time.sleep(0.1)
    elif way == "sqlite-writer":
        base = sqlite3.connect(path, isolation_level=None)
        base.execute("begin immediate")
        base.execute("create table if not exists t (x)")
    elif way == "sqlite-waiter":
        base = sqlite3.connect(path, isolation_level=None, timeout=60)
        print("ready", flush=True)
        base.execute("begin immediate")
    print("ready", flush=True)
    more = []
    while way in ("leak", "churn"):
        file = open(path)
        more = [*more, file] if way == "leak" else [file]
        time.sleep(0.02)
    time.sleep(100)
