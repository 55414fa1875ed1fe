"""A model that fails on demand, and `pellucid serve` as a test drives it: started, asked, watched, always ended."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from importlib import import_module
from pathlib import Path

PELLUCID = [sys.executable, "-m", "pellucid"]
MARK = "PELLUCID_TEST_SERVER"
FAULTY = Path(__file__).parent / "targets" / "serving" / "faulty.py"


def register_faulty(root, name="faulty", source=None, turned=False):
    """Store the failing model in the store at `root`; returns its manifest."""
    from sklearn.pipeline import Pipeline
    from sklearn.tree import DecisionTreeClassifier

    from pellucid.serve import package, stored_code
    from pellucid.serve.frames import frame
    from pellucid.serve.manifest import Training
    from pellucid.serve.records import Reader
    from pellucid.serve.signature import Column, Signature
    from pellucid.serve.store import Store

    sources = {"faulty.py": source or FAULTY.read_text()}
    module = import_module(stored_code.bring_to_life(sources, name) + ".faulty")
    signature = Signature((Column("x", "number", nullable=False), Column("do", "text", nullable=False)), "id", "y")
    sample = [{"id": f"n{number}", "x": float(number), "do": "nothing"} for number in range(10)]
    reader = Reader(signature, 100)
    inputs = frame(reader, reader.check(sample))
    pipeline = Pipeline([("faulty", module.Faulty()), ("tree", DecisionTreeClassifier(random_state=0))])
    pipeline.fit(inputs, [int((row["x"] > 4) != turned) for row in sample])
    training = Training(rows=10, data_sha256="", seconds=0.0, parameters={})
    return package.save(
        Store(root), name, pipeline, signature=signature, sources=sources, sample=sample, metrics={}, training=training
    )


def row(do="nothing", number=1, x=7.0):
    return {"id": f"n{number}", "x": x, "do": do}


class Answer:
    def __init__(self, status, body, headers):
        self.status, self.body, self.headers = status, body, headers

    @property
    def json(self):
        return json.loads(self.body)


class Server:
    """One `pellucid serve`, its log read line by line."""

    def __init__(self, home, *arguments, prefix=(), env=None, stdout=subprocess.DEVNULL):
        self.mark = uuid.uuid4().hex
        self.began = time.time()
        environment = {**os.environ, "XDG_DATA_HOME": str(home), MARK: self.mark, **(env or {})}
        self.process = subprocess.Popen(
            [
                *prefix,
                *PELLUCID,
                "serve",
                *arguments,
                "--port",
                "0",
                *(() if "--record" in arguments else ("--no-record",)),
            ],
            stderr=subprocess.PIPE,
            stdout=stdout,
            stdin=subprocess.DEVNULL,
            env=environment,
        )
        self.log = []
        self.lines = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stderr:
            self.lines.append(line.decode())
            with contextlib.suppress(ValueError):
                self.log.append(json.loads(line))

    def wait_ready(self, within_s=60):
        ready = self.wait_log("ready", within_s)
        self.url = ready["sentence"].partition(" answers on ")[2].partition(" ")[0]
        return self

    def wait_log(self, event, within_s=60, after=0, **fields):
        """The first record of this event (one, or several to choose from) with these fields past number `after`."""
        events = {event} if isinstance(event, str) else set(event)
        until = time.monotonic() + within_s
        while time.monotonic() < until:
            for record in self.log[after:]:
                if record["event"] in events and all(record.get(name) == value for name, value in fields.items()):
                    return record
            if self.process.poll() is not None and not self._reader.is_alive():
                break
            time.sleep(0.02)
        raise AssertionError(f"no {event} within {within_s} s in:\n" + "".join(self.lines))

    def ask(self, path, body=None, headers=None, timeout=30):
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        headers = {"content-type": "application/json"} | (headers or {})
        request = urllib.request.Request(self.url + path, body, headers)
        try:
            with urllib.request.urlopen(request, timeout=timeout) as reply:
                return Answer(reply.status, reply.read(), reply.headers)
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.read(), error.headers)

    def predict(self, *rows, timeout=30):
        return self.ask("/predict", list(rows), timeout=timeout)

    def workers(self):
        return self.ask("/healthz").json["workers"]

    def wait_begun(self, rows, within_s=60):
        """Until so many rows are being predicted, or wait for that, in all workers together."""
        until = time.monotonic() + within_s
        while time.monotonic() < until:
            begun = re.findall(r"has been in request r-\S+ \((\d+) rows?\)", str(found := self.workers()))
            if sum(map(int, begun)) + sum(worker["queued"] for worker in found) >= rows:
                return
            time.sleep(0.02)
        raise AssertionError(f"not {rows} rows within {within_s} s: {self.workers()}")

    def incident(self, name):
        return self.ask(f"/incidents/{name}").json

    def wait_workers(self, count, within_s=60):
        """Until so many workers are ready; returns them."""
        until = time.monotonic() + within_s
        while time.monotonic() < until:
            ready = [worker for worker in self.workers() if worker["ready"]]
            if len(ready) == count:
                return ready
            time.sleep(0.05)
        raise AssertionError(f"not {count} ready workers within {within_s} s: {self.workers()}")

    def family(self):
        """All processes below it, however deep."""
        return descendants(self.process.pid)

    def end(self):
        """Kill it; all that it started must go too, and what does not is killed here, by its mark."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for pid in marked(self.mark):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._reader.join(5)
        self.process.stderr.close()


@contextlib.contextmanager
def serving(home, *arguments, **options):
    server = Server(home, *arguments, **options)
    try:
        yield server.wait_ready()
    finally:
        server.end()


class Asking:
    """A request that is on its way, in a thread of its own; `answer` waits for it. An answer that never came is its exception."""

    def __init__(self, server, *rows, timeout=30):
        self.began = time.monotonic()
        self.result = None
        self.thread = threading.Thread(target=self._ask, args=(server, rows, timeout), daemon=True)
        self.thread.start()

    def _ask(self, server, rows, timeout):
        try:
            self.result = server.predict(*rows, timeout=timeout)
        except OSError as error:
            self.result = error
        self.took_s = time.monotonic() - self.began

    def answer(self, within_s=30):
        self.thread.join(within_s)
        assert self.result is not None, f"no answer within {within_s} s"
        return self.result


def marked(mark):
    """Processes that inherited this mark in their environment."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                if f"{MARK}={mark}".encode() in Path(f"/proc/{entry}/environ").read_bytes():
                    found.append(int(entry))
    return found


def descendants(root):
    children = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
                children.setdefault(int(fields[1]), []).append(int(entry))
    found, todo = [], [root]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


def gone_within(pids, seconds=60):
    """(whether all of them have ended in time, those that have not)."""
    until = time.monotonic() + seconds
    while (left := alive(pids)) and time.monotonic() < until:
        time.sleep(0.01)
    return not left, left


def alive(pids):
    """Those that still exist and are no zombies."""
    left = []
    for pid in pids:
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX":
                left.append(pid)
    return left


def comm(pid):
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""
