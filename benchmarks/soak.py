"""A server under load for minutes, with a fault every five seconds: `python -m benchmarks.soak [MINUTES]`, 10 by default.

Clients on kept connections ask for predictions whose answers are known. Every few seconds a worker is killed, stopped, deadlocked, kept busy
for ever in Python or in C, crashed in native code, left without a free descriptor, the template is killed, or another version is promoted. At the end: no wrong answer, every fault
has its own record in the log within its time, no process too many, and the supervisor has not grown. Ends with 1 where something is not so.

Some requests are lost by faults, and they are counted: those that were in a killed worker get no answer, those that were predicted together with
one that hangs get 504, and 503 asks to come again.
"""

import collections
import http.client
import itertools
import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from pellucid.serve.store import Store

serving: Any = import_module("tests.serving")

EVERY_S = 5.0
TIMEOUT_S = 3.0
EXPLAINED_WITHIN_S = 25.0
WORKERS = 2
CLIENTS = 6


class Awaited(NamedTuple):
    """What has to follow in the log: one of these events, about this process (None: any), with these words."""

    events: tuple[str, ...]
    pid: int | None = None
    words: str = ""


Fault = Callable[[Any, Store], Awaited]
"""Does it; returns what explains it."""


class Client(threading.Thread):
    """Posts one row after the other, and counts what comes."""

    def __init__(self, url: str, seed: int) -> None:
        super().__init__(daemon=True)
        self.place = url.removeprefix("http://")
        self.seed = seed
        self.counts: collections.Counter[str] = collections.Counter()
        self.over = threading.Event()

    def run(self) -> None:
        connection: http.client.HTTPConnection | None = None
        for number in itertools.count(self.seed):
            if self.over.is_set():
                return
            x = float(number % 10)
            try:
                connection = connection or http.client.HTTPConnection(self.place, timeout=TIMEOUT_S + 10)
                row = serving.row(number=number, x=x)
                connection.request("POST", "/predict", json.dumps([row]), {"content-type": "application/json"})
                answer = connection.getresponse()
                content = answer.read()
                if answer.headers.get("connection") == "close":
                    connection.close()
                    connection = None
                self._count(answer.status, content, x, row["id"])
            except (OSError, http.client.HTTPException):
                self.counts["no answer"] += 1
                if connection is not None:
                    connection.close()
                connection = None

    def _count(self, status: int, content: bytes, x: float, name: str) -> None:
        if status != 200:
            self.counts[str(status)] += 1
            return
        (found,) = json.loads(content)["predictions"]
        right = found == {"id": name, "prediction": int(x > 4)}
        self.counts["right" if right else "WRONG"] += 1


def _a_worker(server: Any) -> int:
    """The pid of one that is ready; IndexError where none is for long."""
    until = time.monotonic() + EXPLAINED_WITHIN_S
    while not (ready := [worker for worker in server.workers() if worker["ready"]]) and time.monotonic() < until:
        time.sleep(0.05)
    return int(ready[0]["pid"])


def killed(server: Any, store: Store) -> Awaited:  # noqa: ARG001
    pid = _a_worker(server)
    os.kill(pid, signal.SIGKILL)
    return Awaited(("died",), pid)


def stopped(server: Any, store: Store) -> Awaited:  # noqa: ARG001
    pid = _a_worker(server)
    os.kill(pid, signal.SIGSTOP)
    return Awaited(("replaced",), pid)


def asked(what: str, *events: str, words: str = "") -> Fault:
    def fault(server: Any, store: Store) -> Awaited:  # noqa: ARG001
        serving.Asking(server, serving.row(what))
        return Awaited(events, words=words)

    fault.__name__ = what
    return fault


def template_killed(server: Any, store: Store) -> Awaited:  # noqa: ARG001
    pid = next(pid for pid in server.family() if serving.comm(pid) == "pellucid-model")
    os.kill(pid, signal.SIGKILL)
    return Awaited(("template_ended",), pid)


def promoted(server: Any, store: Store) -> Awaited:  # noqa: ARG001
    now = store.resolve("faulty").version
    store.promote("faulty", 3 - now)
    return Awaited(("reloaded",))


FAULTS: tuple[Fault, ...] = (
    killed, asked("lock", "replaced", words="Lock NEVER"), stopped, asked("die SIGSEGV", "died", words="SIGSEGV"), template_killed,
    asked("spin 60", "replaced"), promoted, asked("hold_gil", "replaced"),
    asked("open_all", "descriptors", "stuck", words="descriptors open"),
)  # fmt: skip


class Explained:
    """Which record of the log explains which fault: each one at most one."""

    def __init__(self, server: Any) -> None:
        self.server = server
        self.took_s: list[float] = []
        self._claimed: set[int] = set()
        self._victims: set[int] = set()
        self._lock = threading.Lock()

    def wait(self, awaited: Awaited, after: int) -> dict[str, Any]:
        """The first such record past number `after` that explains nothing else. AssertionError where none comes in time."""
        began = time.monotonic()
        if awaited.pid is not None:
            self._victims.add(awaited.pid)
        while time.monotonic() - began < EXPLAINED_WITHIN_S:
            with self._lock:
                for number, record in enumerate(self.server.log[after:], after):
                    if number not in self._claimed and self._fits(awaited, record):
                        self._claimed.add(number)
                        self.took_s.append(time.monotonic() - began)
                        return dict(record)
            time.sleep(0.02)
        raise AssertionError(f"no {' or '.join(awaited.events)} within {EXPLAINED_WITHIN_S:g} s")

    def _fits(self, awaited: Awaited, record: dict[str, Any]) -> bool:
        """A record about a process that is known to be the victim of another fault explains only that."""
        pid = record.get("pid")
        about = pid == awaited.pid if awaited.pid is not None else pid not in self._victims
        return about and record["event"] in awaited.events and awaited.words in record["sentence"]


def soak(minutes: float) -> list[str]:
    """What was not as it should be."""
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        store = Store(str(Path(folder, "pellucid", "models")))
        for _ in range(2):
            serving.register_faulty(store.root)
        store.promote("faulty", 1)
        options = ["--workers", str(WORKERS), "--timeout", str(TIMEOUT_S)]
        few_files = ["sh", "-c", 'ulimit -n 512; exec "$@"', "sh"]
        with serving.serving(folder, "faulty", *options, prefix=few_files) as server:
            clients = [Client(server.url, 1000 * number) for number in range(CLIENTS)]
            for client in clients:
                client.start()
            size = _rss(server.process.pid)
            explained = Explained(server)
            faults = _faults(server, store, explained, minutes * 60, wrong)
            for client in clients:
                client.over.set()
            server.wait_workers(WORKERS, 60)
            time.sleep(TIMEOUT_S + 3)
            grown = _rss(server.process.pid) - size
            family = [serving.comm(pid) for pid in server.family()]
            for client in clients:
                client.join(30)
        counts: collections.Counter[str] = sum((client.counts for client in clients), collections.Counter())
    took = sorted(explained.took_s)
    print(
        f"{faults} faults, explained after {took[len(took) // 2]:.1f} s in the median and {took[-1]:.1f} s at the most; answers: {dict(counts)}; "
        f"the supervisor grew by {grown / 1e6:.1f} MB; left at the end: {family}"
    )
    if counts["WRONG"]:
        wrong.append(f"{counts['WRONG']} wrong answers")
    if grown > 30e6:
        wrong.append(f"the supervisor grew by {grown / 1e6:.0f} MB")
    if len(family) != WORKERS + 2:  # the template, and a process that waits to become a worker
        wrong.append(f"{len(family)} processes are left: {family}")
    return wrong


def _faults(server: Any, store: Store, explained: Explained, seconds: float, wrong: list[str]) -> int:
    """One every `EVERY_S`, whether the one before is explained or not; returns how many, once all are explained or too late."""
    threads: list[threading.Thread] = []
    until = due = time.monotonic()
    until += seconds
    for number, fault in enumerate(itertools.cycle(FAULTS)):
        if due > until:
            break
        time.sleep(max(0.0, due - time.monotonic()))
        due += EVERY_S
        threads.append(
            threading.Thread(
                target=lambda *known: wrong.extend(_one(server, store, explained, *known)), args=(number, fault)
            )
        )
        threads[-1].start()
    for thread in threads:
        thread.join()
    return len(threads)


def _one(server: Any, store: Store, explained: Explained, number: int, fault: Fault) -> list[str]:
    try:
        after = len(server.log)
        awaited = fault(server, store)
        found = explained.wait(awaited, after)
    except (AssertionError, OSError, StopIteration, IndexError) as error:
        since = [f"{record['event']}: {record['sentence'][:150]}" for record in server.log[after:]]
        return ["\n    ".join([f"fault {number}, {fault.__name__}: {str(error)[:200]}; the log since then:", *since])]
    print(f"{number:3} {fault.__name__:16} {found['event']:14} {found['sentence'][:150]}", flush=True)
    return []


def _rss(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    problems = soak(float(sys.argv[1]) if len(sys.argv) > 1 else 10.0)
    for problem in problems:
        print(f"*** {problem}")
    sys.exit(1 if problems else 0)
