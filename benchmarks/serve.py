"""Requests a second of `pellucid serve` against other ways to serve the same fitted pipeline, each with two workers.

Before anything is timed, every server has to answer 367 applications exactly as the pipeline itself does, alone and in company. Any answer
that is not 2xx, and any broken connection, fails the benchmark. Client and servers share the machine's cores. Ours is measured twice:
as it serves by default (the sum of the trees, which was proved equal to the bit), and with the pipeline untouched.

`BENCH_PEERS=all` measures FastAPI, LitServe, MLServer, BentoML, MLflow and Ray Serve too, each in an environment of its own that is made once (some
minutes and 3 GB); `BENCH_PEERS=fastapi,litserve` some of them. One that can't be installed or started is told, and left out.
"""

import contextlib
import functools
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct

from benchmarks import harness, load, machine, peers

ROUNDS = 3
SECONDS = 2.0
"""With the baseline alone: 4 contenders in 3 shapes and a warm-up round, a minute and a half."""
WORKERS = 2
KILLS = 15
CONNECTIONS = 8
STARTS_WITHIN_S = 120.0
"""From its start until it predicts. Ray Serve takes half a minute for it on a quiet machine."""


class Shape(Struct, frozen=True):
    """One kind of load."""

    name: str
    rows: int
    connections: int


SHAPES = (Shape("1 row, 8 conn.", 1, 8), Shape("1 row, 64 conn.", 1, 64), Shape("100 rows, 8 conn.", 100, 8))


class Server(Struct, frozen=True):
    """A running server: its first process, where it predicts, and the shape of its requests and answers."""

    name: str
    pid: int
    url: str
    shape: peers.Body = "records"

    def body(self, records: Sequence[dict[str, Any]]) -> bytes:
        return peers.body(self.shape, records)


OURS = "pellucid serve"
UNTOUCHED = "pellucid serve --engine pipeline"
UNRECORDED = "pellucid serve --no-record"
"""Without its flight recorder, which no other server has: its memory alone is measured."""
PLAIN = "Flask + gunicorn"
TEXT = "Flask + gunicorn, JSON in a JSON string (the baseline)"


def report() -> str:
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as running:
        environment = harness.clean_environment(XDG_DATA_HOME=folder, BASELINE_MODEL="loan")
        _train(environment)
        records, expected = _applications(folder)
        servers = _servers(running, environment, folder)
        for server in servers:
            _check(server, records, expected)
        told: dict[str, str] = {}
        servers += _peers(running, environment, folder, records, expected, told)
        measured = {shape: _measure(servers, shape, records, told) for shape in SHAPES}
        exported = _exported(running, environment, folder, records, servers[0])
        unrecorded = _unrecorded(running, environment, folder, records)
        memory = {server.name: _pss(server.pid) for server in (servers[0], unrecorded, *servers[1:])}
        tolls = exported + _tolls(environment, records[:1])
    versions = machine.described(
        ["pellucid", "scikit-learn", "pandas", "uvicorn", "starlette", "flask", "gunicorn"], programs=[load.client()]
    )
    head = (
        f"{WORKERS} workers each; {ROUNDS} rounds of {SECONDS:.0f} s a server and a load, in turn, client and servers on the "
        f"same cores. {len(records)} of {len(records)} answers of every server equal the pipeline's; "
        f"{'what went wrong is told below' if told else 'no request failed'}.\n"
    )
    tables = [_table(shape, measured[shape]) for shape in SHAPES]
    rows = [[name, f"{size / 1e6:.0f}", f"{size / memory[TEXT]:.2f}"] for name, size in memory.items() if name != PLAIN]
    tables.append(harness.table(["after the load", "PSS MB, all processes", "× baseline"], rows))
    if told:
        tables.append(harness.table(["another server", "what went wrong"], [list(each) for each in told.items()]))
    tables.append(harness.table(["what it takes", "median (smallest–largest)"], tolls))
    return "\n".join([versions, head, *tables])


def _tolls(environment: dict[str, str], example: Sequence[dict[str, Any]]) -> list[list[str]]:
    """A heartbeat, where connections go, a worker that is killed, a supervisor that is killed: on a server that nobody else loads."""
    beats = [_beat_ns() for _ in range(5)]
    fullest: list[float] = []
    replaced: list[float] = []
    with contextlib.ExitStack() as running, tempfile.TemporaryDirectory() as folder:
        port = _free_port()
        line = [_program("pellucid"), "serve", "loan", "--workers", str(WORKERS), "--port", str(port)]
        pid = running.enter_context(_running(OURS, line, environment, Path(folder, "log"), port))
        for _ in range(KILLS):
            fullest.append(_most_on_one(port, peers.body("records", example)))
            time.sleep(1.0)
            replaced.append(_replaced_ms(f"http://127.0.0.1:{port}/healthz"))
        below = [child for child in _family(pid) if child != pid]
        os.kill(pid, signal.SIGKILL)
        time.sleep(1.0)
        left = sum(_lives(child) for child in below)
    return [
        ["a heartbeat, ns", harness.spread(beats).text(digits=0)],
        [
            f"of {CONNECTIONS} connections that come at once, on the worker with most (all on one leave a core idle)",
            harness.spread(fullest).text(digits=0),
        ],
        ["from the kill of a worker until another is ready, ms", harness.spread(replaced).text(digits=0)],
        [f"of the {len(below)} processes of a killed supervisor, left after 1 s", str(left)],
    ]


def _most_on_one(port: int, body: bytes) -> int:
    """The request id that comes with each answer names the worker: r-WORKER-NUMBER."""
    with contextlib.ExitStack() as opened:
        connections = [http.client.HTTPConnection("127.0.0.1", port, timeout=20) for _ in range(CONNECTIONS)]
        for connection in connections:
            opened.callback(connection.close)
            connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
        ids = [connection.getresponse().getheader("x-request-id", "") for connection in connections]
    workers = [name.split("-")[1] for name in ids]
    return max(map(workers.count, workers))


def _lives(pid: int) -> bool:
    """It is there and no zombie, which is dead and only waits to be collected by its new parent."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] not in "ZX"
    return False


def _beat_ns() -> float:
    from pellucid.serve.board import Board

    board = Board.new(1)
    beat = board.slots[0].beat
    began = time.perf_counter_ns()
    for _ in range(100_000):
        beat()
    took = (time.perf_counter_ns() - began) / 100_000
    os.close(board.fd)
    return took


def _replaced_ms(url: str) -> float:
    """The board is asked through a worker that lives, every few milliseconds."""
    before = {worker["pid"] for worker in _workers(url)}
    victim = min(before)
    began = time.perf_counter()
    os.kill(victim, signal.SIGKILL)
    while time.perf_counter() - began < 20:
        now = {worker["pid"] for worker in _workers(url) if worker["ready"]}
        if len(now) == WORKERS and victim not in now:
            return (time.perf_counter() - began) * 1000
        time.sleep(0.005)
    raise harness.Failed("a killed worker was not replaced within 20 s")


def _workers(url: str) -> list[dict[str, Any]]:
    with contextlib.suppress(OSError, http.client.HTTPException):
        _, body = _http("GET", url)
        found: list[dict[str, Any]] = json.loads(body)["workers"]
        return found
    return []


def _table(shape: Shape, loads: dict[str, list[load.Load]]) -> str:
    base = [one.rate for one in loads[TEXT]]
    slow = [one.p99_ms for one in loads[TEXT]]
    rows = [
        [
            name,
            harness.spread(one.rate for one in seen).text(digits=0),
            harness.ratios([one.rate for one in seen], base).text(digits=2),
            harness.spread(one.p50_ms for one in seen).text(),
            harness.spread(one.p99_ms for one in seen).text(),
            harness.ratios([one.p99_ms for one in seen], slow).text(digits=2),
        ]
        for name, seen in loads.items()
    ]
    return harness.table([shape.name, "requests/s", "× baseline", "p50 ms", "p99 ms", "p99 × baseline"], rows)


def _measure(
    servers: Sequence[Server], shape: Shape, records: Sequence[dict[str, Any]], told: dict[str, str]
) -> dict[str, list[load.Load]]:
    """What a peer refused or broke is `told` beside its numbers; of ours, and of the baseline, it fails the benchmark."""
    theirs = {peer.name for peer in peers.PEERS.values()}
    bodies = {server.name: server.body(records[: shape.rows]) for server in servers}

    def one(server: Server) -> load.Load:
        seen = load.apply(server.url, bodies[server.name], shape.connections, SECONDS)
        if not seen.requests and not seen.broken:  # slower than the round is long
            seen = load.apply(server.url, bodies[server.name], shape.connections, SECONDS * 5)
        if seen.refused or seen.broken or not seen.requests:
            said = f"{shape.name}: {seen.requests} answers, {seen.refused} refused, {seen.broken} broken"
            if server.name not in theirs:
                raise harness.Failed(f"{server.name}, {said}")
            told[server.name] = said
        return seen

    return harness.interleave({server.name: functools.partial(one, server) for server in servers}, ROUNDS)


def _train(environment: dict[str, str]) -> None:
    ended = harness.command([_program("pellucid"), "train", "loan"], timeout_s=300, environment=environment)
    if ended.run.error:
        raise harness.Failed(f"pellucid train loan {ended.run.error}")


def _applications(folder: str) -> tuple[list[dict[str, Any]], list[str]]:
    """The test applications as JSON records, and what the pipeline itself says of them."""
    from pellucid.serve import package
    from pellucid.serve.frames import rows
    from pellucid.serve.loan import data
    from pellucid.serve.store import Store

    store = Store(os.path.join(folder, "pellucid", "models"))
    model = package.load(store, store.resolve("loan"), max_rows=1000)
    _, test = data.load()
    labels = model.pipeline.predict(test[model.manifest.signature.names()])
    return rows(model.manifest.signature, test), [str(label) for label in labels]


def _check(server: Server, records: Sequence[dict[str, Any]], expected: Sequence[str]) -> None:
    """Fails unless every record gets the pipeline's label and its own id, alone and in company."""
    wanted = [(record["Loan_ID"], label) for record, label in zip(records, expected, strict=True)]
    together = [pair for start in range(0, len(records), 100) for pair in _ask(server, records[start : start + 100])]
    alone = [pair for record in records[:100] for pair in _ask(server, [record])]
    wrong = sum(one != other for one, other in zip(together, wanted, strict=True))
    wrong += sum(one != other for one, other in zip(alone, wanted[:100], strict=True))
    if wrong:
        raise harness.Failed(f"{server.name} gives {wrong} answers that are not the pipeline's")


def _ask(server: Server, records: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    status, body = _http("POST", server.url, server.body(records))
    if status != 200:
        raise harness.Failed(f"{server.name} answered {status}: {body[:300]!r}")
    return peers.answers(server.shape, body, [record["Loan_ID"] for record in records])


def _http(method: str, url: str, body: bytes | None = None) -> tuple[int, bytes]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=20)
    with contextlib.closing(connection):
        connection.request(method, parts.path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read()


def _servers(running: contextlib.ExitStack, environment: dict[str, str], folder: str) -> list[Server]:
    ours, untouched, theirs = _free_port(), _free_port(), _free_port()
    workers = str(WORKERS)
    serve = [_program("pellucid"), "serve", "loan", "--workers", workers]
    lines = {
        OURS: [*serve, "--port", str(ours)],
        UNTOUCHED: [*serve, "--port", str(untouched), "--engine", "pipeline"],
        PLAIN: [_program("gunicorn"), "--workers", workers, "--bind", f"127.0.0.1:{theirs}",
                "--chdir", str(harness.here() / "benchmarks" / "baseline"), "app:app"],
    }  # fmt: skip
    pids = {
        name: running.enter_context(_running(name, line, environment, Path(folder, f"{port}.log"), port))
        for (name, line), port in zip(lines.items(), (ours, untouched, theirs), strict=True)
    }
    return [
        Server(OURS, pids[OURS], f"http://127.0.0.1:{ours}/predict"),
        Server(UNTOUCHED, pids[UNTOUCHED], f"http://127.0.0.1:{untouched}/predict"),
        Server(PLAIN, pids[PLAIN], f"http://127.0.0.1:{theirs}/predict"),
        Server(TEXT, pids[PLAIN], f"http://127.0.0.1:{theirs}/predict-text", "text"),
    ]


def _exported(
    running: contextlib.ExitStack,
    environment: dict[str, str],
    folder: str,
    records: Sequence[dict[str, Any]],
    plain: Server,
) -> list[list[str]]:
    """What it costs to send spans of every request, or of one in a hundred, in turn with the server that sends none."""
    sink = _free_port()
    line = [sys.executable, str(harness.here() / "benchmarks" / "baseline" / "sink.py"), str(sink)]
    receiver = subprocess.Popen(line, stdin=subprocess.DEVNULL)
    running.callback(receiver.wait)
    running.callback(receiver.kill)
    servers = [plain]
    for name, sampler, share in (("every request", "always_on", "1"), ("1 request in 100", "traceidratio", "0.01")):
        port = _free_port()
        line = [_program("pellucid"), "serve", "loan", "--workers", str(WORKERS), "--port", str(port)]
        line += ["--otlp", f"http://127.0.0.1:{sink}"]
        sampled = {**environment, "OTEL_TRACES_SAMPLER": sampler, "OTEL_TRACES_SAMPLER_ARG": share}
        pid = running.enter_context(_running(name, line, sampled, Path(folder, f"{port}.log"), port))
        servers.append(Server(name, pid, f"http://127.0.0.1:{port}/predict"))
    rows = []
    for shape in SHAPES[:2]:
        seen = _measure(servers, shape, records, {})
        base = [one.rate for one in seen[plain.name]]
        rows += [
            [
                f"{shape.name}: requests/s with spans of {server.name}, × without",
                harness.ratios([one.rate for one in seen[server.name]], base).text(digits=2),
            ]
            for server in servers[1:]
        ]
    return rows


def _unrecorded(
    running: contextlib.ExitStack, environment: dict[str, str], folder: str, records: Sequence[dict[str, Any]]
) -> Server:
    """It has had each kind of load."""
    port = _free_port()
    line = [_program("pellucid"), "serve", "loan", "--workers", str(WORKERS), "--port", str(port), "--no-record"]
    pid = running.enter_context(_running(UNRECORDED, line, environment, Path(folder, f"{port}.log"), port))
    server = Server(UNRECORDED, pid, f"http://127.0.0.1:{port}/predict")
    for shape in SHAPES:
        _measure([server], shape, records, {})
    return server


def _peers(
    running: contextlib.ExitStack,
    environment: dict[str, str],
    folder: str,
    records: Sequence[dict[str, Any]],
    expected: Sequence[str],
    told: dict[str, str],
) -> list[Server]:
    """Those that were asked for and answer as the pipeline does; why another one is left out is `told`."""
    asked = os.environ.get("BENCH_PEERS", "")
    names = list(peers.PEERS) if asked == "all" else [name for name in asked.split(",") if name]
    servers = []
    for name in names:
        if name not in peers.PEERS:
            raise harness.Failed(f"there is no peer {name!r}, only {', '.join(peers.PEERS)}")
        peer, port = peers.PEERS[name], _free_port()
        try:
            line = peer.prepare(Path(folder, name), port, WORKERS)
            more = {**environment, "PATH": f"{Path(line[0]).parent}:{environment.get('PATH', '')}", **peer.environment}
            until = time.monotonic() + STARTS_WITHIN_S
            with contextlib.ExitStack() as starting:  # one that is left out is ended at once
                pid = starting.enter_context(_running(name, line, more, Path(folder, f"{port}.log"), port))
                server = Server(peer.name, pid, f"http://127.0.0.1:{port}{peer.path}", peer.shape)
                _await_prediction(server, records[:1], until)
                _check(server, records, expected)
                running.enter_context(starting.pop_all())
        except (harness.Failed, OSError, http.client.HTTPException, ValueError, subprocess.TimeoutExpired) as failure:
            told[peer.name] = f"left out: {' '.join(str(failure).replace('|', ' ').split())[:400]}"
            print(f"*** {peer.name} is {told[peer.name]}", file=sys.stderr, flush=True)
            continue
        servers.append(server)
    return servers


def _await_prediction(server: Server, example: Sequence[dict[str, Any]], until: float) -> None:
    """Several peers listen long before their model is loaded."""
    while True:
        try:
            _ask(server, example)
        except (harness.Failed, OSError, http.client.HTTPException, ValueError) as error:
            if time.monotonic() > until:
                raise harness.Failed(
                    f"{server.name} did not predict within {STARTS_WITHIN_S:.0f} s: {error}"
                ) from error
            time.sleep(0.5)
        else:
            return


@contextlib.contextmanager
def _running(name: str, line: Sequence[str], environment: dict[str, str], log: Path, port: int) -> Iterator[int]:
    """The pid of a server that answers; ended with its whole process group."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            line, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment, start_new_session=True
        )
    try:
        _await(name, process, log, port)
        yield process.pid
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        with contextlib.suppress(ProcessLookupError):  # some leave their workers behind
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _await(name: str, process: "subprocess.Popen[bytes]", log: Path, port: int) -> None:
    """Until it answers anything at all on its port; the checks come later."""
    until = time.monotonic() + STARTS_WITHIN_S
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError, http.client.HTTPException):
            status, _ = _http("GET", f"http://127.0.0.1:{port}/readyz")
            if status in {200, 307, 400, 404, 405}:  # not every server has such a page
                return
        time.sleep(0.1)
    raise harness.Failed(f"{name} did not start: {log.read_text(errors='replace')[-2000:]}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _program(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def _pss(root: int) -> int:
    """Bytes of the process and all its descendants, a shared page divided among those that share it (proc_pid_smaps(5))."""
    return sum(_own_pss(pid) for pid in _family(root))


def _family(root: int) -> set[int]:
    """The process and all its descendants."""
    family, todo = {root}, [root]
    children = _children()
    while todo:
        found = set(children.get(todo.pop(), ())) - family
        family |= found
        todo += found
    return family


def _children() -> dict[int, list[int]]:
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                stat = Path("/proc", entry, "stat").read_text(encoding="utf-8", errors="replace")
                children.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(entry))
    return children


def _own_pss(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise harness.Failed(f"/proc/{pid}/smaps_rollup has no Pss")
