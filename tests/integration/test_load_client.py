"""Both clients that make the benchmarks' load count the same things: good answers, refusals, broken connections."""

import asyncio
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from benchmarks import load

BODY = b'[{"Loan_ID": "LP1"}]'


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self):
        status = 200 if self.rfile.read(int(self.headers["Content-Length"])) == BODY else 422
        if self.path == "/refuse":
            status = 503
        if self.path == "/hang-up":
            self.close_connection = True
            return
        self.send_response(status)
        self.send_header("Content-Length", "2")
        if self.path == "/close":
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def streams(url, body, connections, seconds):
    return asyncio.run(load._streams(url, body, connections, seconds))


wrk = pytest.param(
    load._wrk,
    id="wrk",
    marks=pytest.mark.skipif(not shutil.which("wrk"), reason="wrk is not installed (apt-get install wrk)"),
)
clients = pytest.mark.parametrize("apply", [pytest.param(streams, id="asyncio"), wrk])


@clients
@pytest.mark.parametrize("path", ["/predict", "/close"])
def test_good_answers_are_counted_with_their_latency(server, apply, path):
    seen = apply(server + path, BODY, 4, 1)
    assert seen.requests > 20
    assert (seen.refused, seen.broken) == (0, 0)
    assert 0.5 < seen.seconds < 20
    assert 0 < seen.p50_ms <= seen.p99_ms < 20_000
    assert seen.rate == pytest.approx(seen.requests / seen.seconds)


@clients
def test_a_refusal_is_no_good_answer(server, apply):
    seen = apply(f"{server}/refuse", BODY, 2, 1)
    assert seen.refused == seen.requests > 0
    assert seen.rate == 0


@clients
def test_a_server_that_hangs_up_is_counted(server, apply):
    seen = apply(f"{server}/hang-up", BODY, 2, 1)
    assert seen.requests == 0
    assert seen.broken > 0
