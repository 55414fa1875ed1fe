"""Threads start and end all the time beside one that stays. Prints "ready", then runs until it is killed."""
import threading, time


def short():
    inner()


def inner():
    time.sleep(0.0002)


def long():
    while True:
        time.sleep(0.01)


threading.Thread(target=long, name="stays", daemon=True).start()
print("ready", flush=True)
while True:
    threads = [threading.Thread(target=short) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
