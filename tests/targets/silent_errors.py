"""Swallows two errors and says nothing of it: a file that is missing, and one that its user may not read."""
import os
import sys
import threading


def missing(directory):
    try:
        open(os.path.join(directory, "absent.csv"))
    except OSError:
        pass


def unreadable(directory):
    try:
        open(os.path.join(directory, "secret.txt"))
    except OSError:
        pass


def look(directory):
    missing(directory)
    unreadable(directory)


directory = sys.argv[1]
if os.geteuid() == 0:
    os.seteuid(65534)
if "thread" in sys.argv:
    thread = threading.Thread(target=look, args=(directory,))
    thread.start()
    thread.join()
if "fork" in sys.argv:
    if (child := os.fork()) == 0:
        look(directory)
        os._exit(0)
    os.waitpid(child, 0)
look(directory)
if "wait" in sys.argv:
    import time

    print("ready", flush=True)
    while True:
        look(directory)
        time.sleep(0.02)
