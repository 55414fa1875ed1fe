"""Spends its time in one of ten ways, the first argument: five wrong ones, each with a healthy look-alike. Prints "ready" first."""
import gc
import queue
import re
import sys
import threading
import time


def hot_loop():
    total = 0
    while True:
        total += 1


def f1(n): return sum(range(n))
def f2(n): return sorted(range(n))[0]
def f3(n): return len(str(list(range(n))))
def f4(n): return max(range(n), default=0)
def f5(n): return hash(tuple(range(n)))


def spread():
    while True:
        f1(3000)
        f2(1800)
        f3(300)
        f4(1900)
        f5(2500)


def regex():
    pattern = re.compile("(a+)+$")
    pattern.match("a" * 40 + "b")


def regex_long():
    pattern = re.compile("[bc]+d")
    texts = ["ab" * 2_000_000, "ba" * 2_000_000]
    while True:
        for text in texts:
            pattern.search(text)


class Report:
    def __init__(self):
        self.text = ""

    def add(self, line):
        self.text += line


def concatenation():
    report = Report()
    report.add("x" * 3_000_000)
    while True:
        report.add("one more line\n")


def join():
    while True:
        lines = []
        text = ""
        for _ in range(200_000):
            lines.append("one more line\n")
            text += "one more line\n"
        "".join(lines)


class Node:
    def __init__(self):
        self.other = self


def churn():
    gc.set_threshold(50, 2, 2)
    kept = [Node() for _ in range(200_000)]
    while kept:
        make()


def make():
    return [Node() for _ in range(20)]


def calm():
    kept = [Node() for _ in range(200_000)]
    gc.freeze()
    while kept:
        for _ in range(1000):
            f1(1000)
        gc.collect(0)


LOCK = threading.Lock()


def under_lock():
    while True:
        with LOCK:
            time.sleep(0.004)


def convoy():
    for number in range(6):
        threading.Thread(target=under_lock, name=f"worker-{number}", daemon=True).start()
    time.sleep(1000)


TASKS = queue.Queue()


def take():
    while True:
        TASKS.get()
        time.sleep(0.001)


def workers():
    for number in range(6):
        threading.Thread(target=take, name=f"worker-{number}", daemon=True).start()
    while True:
        TASKS.put(1)
        time.sleep(0.005)


def count():
    n = 0
    while True:
        n += 1


def answer():
    while True:
        time.sleep(0.0005)


def starvation():
    for number in range(4):
        threading.Thread(target=count, name=f"counts-{number}", daemon=True).start()
    threading.Thread(target=answer, name="answers", daemon=True).start()
    time.sleep(1000)


def answers():
    for number in range(4):
        threading.Thread(target=answer, name=f"answers-{number}", daemon=True).start()
    time.sleep(1000)


print("ready", flush=True)
globals()[sys.argv[1]]()
