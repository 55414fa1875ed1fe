"""Load on an HTTP server: N connections that post the same body as fast as the answers come, for some seconds.

wrk (Debian package `wrk`) makes it where it is installed; else a client on asyncio streams, which takes more of the
machine for itself and so shows lower numbers: never compare one with the other. Every answer that is not 2xx, every
broken connection and every time-out is counted.
"""

import asyncio
import json
import math
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from msgspec import Struct

from benchmarks import harness

TIMEOUT_S = 20.0

# wrk calls done() in its main state: latencies are in microseconds, duration too (SCRIPTING in its sources).
SCRIPT = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
local file = io.open("%s", "rb")
wrk.body = file:read("*a")
file:close()
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('{"requests": %%d, "seconds": %%f, "p50": %%f, "p99": %%f, "refused": %%d, "broken": %%d}\\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    e.status, e.connect + e.read + e.write + e.timeout))
end
"""


class Load(Struct, frozen=True):
    """What the clients saw. `refused`: answers that were not 2xx; `broken`: failed connections, reads, writes, time-outs."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    refused: int
    broken: int

    @property
    def rate(self) -> float:
        """Good answers a second."""
        return (self.requests - self.refused) / self.seconds if self.seconds > 0 else 0.0


def client() -> str:
    """Which client makes the load here."""
    if not shutil.which("wrk"):
        return "load by an asyncio client"
    told = harness.command(["wrk", "-v"]).output.split()  # `wrk debian/4.1.0-3+b2 [epoll] ...`
    return f"load by {' '.join(told[:2])}"


def apply(url: str, body: bytes, connections: int, seconds: float) -> Load:
    """Load `url` and return what came back."""
    if shutil.which("wrk"):
        return _wrk(url, body, connections, seconds)
    return asyncio.run(_streams(url, body, connections, seconds))


def _wrk(url: str, body: bytes, connections: int, seconds: float) -> Load:
    with tempfile.TemporaryDirectory() as folder:
        payload, script = Path(folder, "body"), Path(folder, "post.lua")
        payload.write_bytes(body)
        script.write_text(SCRIPT % payload, encoding="utf-8")
        line = [
            "wrk",
            "-t1",
            f"-c{connections}",
            f"-d{seconds:.0f}s",
            f"--timeout={TIMEOUT_S:.0f}s",
            "-s",
            str(script),
            url,
        ]
        ended = harness.command(line, timeout_s=seconds + 2 * TIMEOUT_S)
    if ended.run.error:
        raise harness.Failed(f"wrk {ended.run.error}")
    told = json.loads(ended.output.strip().splitlines()[-1])
    return Load(told["requests"], told["seconds"], told["p50"], told["p99"], told["refused"], told["broken"])


class _Tally:
    """What all connections of the asyncio client saw together."""

    def __init__(self) -> None:
        self.latencies: list[float] = []
        self.refused = 0
        self.broken = 0


async def _streams(url: str, body: bytes, connections: int, seconds: float) -> Load:
    parts = urlsplit(url)
    head = (
        f"POST {parts.path or '/'} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode()
    began = time.perf_counter()
    tally = _Tally()
    address = (parts.hostname or "127.0.0.1", parts.port or 80)
    await asyncio.gather(*(_connection(address, head + body, began + seconds, tally) for _ in range(connections)))
    took = time.perf_counter() - began
    p50_ms, p99_ms = (percentile(tally.latencies, share) * 1000 for share in (0.50, 0.99))
    return Load(len(tally.latencies), took, p50_ms, p99_ms, tally.refused, tally.broken)


async def _connection(address: tuple[str, int], message: bytes, until: float, tally: _Tally) -> None:
    """One keep-alive connection; a server that closes it politely gets a new one, a broken one is counted and ends."""
    writer = None
    try:
        while time.perf_counter() < until:
            if writer is None:
                reader, writer = await asyncio.open_connection(*address)
            sent = time.perf_counter()
            writer.write(message)
            status, closes = await asyncio.wait_for(_answer(reader), TIMEOUT_S)
            tally.latencies.append(time.perf_counter() - sent)
            tally.refused += not 200 <= status < 300
            if closes:
                writer.close()
                writer = None
    except (OSError, asyncio.IncompleteReadError, TimeoutError, ValueError):
        tally.broken += 1
    finally:
        if writer is not None:
            writer.close()


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bool]:
    """The status of one answer, and whether the server closes after it. Bodies come with Content-Length."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.split("\r\n")
    fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    await reader.readexactly(int(fields["content-length"]) if "content-length" in fields else 0)
    return int(first.split()[1]), fields.get("connection", "").lower() == "close"


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of all do not exceed; 0 where there are none."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)] if values else 0.0
