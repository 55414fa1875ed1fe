"""`profile PID --push`: what arrives at a store that speaks Pyroscope's POST /ingest, and what is said when it does not take it."""

import base64
import email.parser
import gzip
import json
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests import interpreters

LIMIT_S = 60
VIEWERS = Path(__file__).parents[1] / "viewers"
OURS = interpreters.Interpreter(f"{sys.version_info[0]}.{sys.version_info[1]}", sys.executable)


@pytest.fixture
def store():
    """A store that keeps (query, headers, parts by name) in `got` and answers with `status`."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            head = f"Content-Type: {self.headers['Content-Type']}\n\n".encode()
            message = email.parser.BytesParser().parsebytes(head + body)
            parts = {
                part.get_param("name", header="Content-Disposition"): part.get_payload(decode=True)
                for part in message.get_payload()
            }
            self.server.got.append((urllib.parse.urlsplit(self.path), dict(self.headers), parts))
            self.server.takes.wait(LIMIT_S)
            self.send_response(self.server.status)
            self.send_header("Content-Length", "7")
            self.end_headers()
            self.wfile.write(b"no \x1b[1m")

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.got, server.status, server.takes = [], 200, threading.Event()
    server.takes.set()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.takes.set()
    server.shutdown()
    server.server_close()
    thread.join()


def decoded(profile):
    """As a decoder of others reads it; None where that is not here."""
    if shutil.which("node") is None or not (VIEWERS / "node_modules").is_dir():
        return None
    line = ["node", str(VIEWERS / "decode_pprof.mjs")]
    return json.loads(subprocess.run(line, input=profile, capture_output=True, check=True, timeout=LIMIT_S).stdout)


def pushing(pid, url, *options, **environment):
    line = [sys.executable, "-m", "pellucid", "profile", str(pid), "--push", url, "--every", "1", *options]
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment or None)


def test_profiles_arrive_until_ctrl_c(target, store):
    busy, _ = target(OURS, "shares.py")
    url = f"http://127.0.0.1:{store.server_address[1]}/under/"
    process = pushing(busy.pid, url.replace("//", "//me:secret@", 1), "--name", "loans{env=test}")
    until = time.monotonic() + LIMIT_S
    while len(store.got) < 2:
        assert time.monotonic() < until
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    told, error = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0
    assert "profiles sent" in told
    assert "secret" not in told + error
    path, headers, parts = store.got[1]
    assert path.path == "/under/ingest"
    query = urllib.parse.parse_qs(path.query)
    assert query["name"] == ["loans{env=test}"]
    assert query["format"] == ["pprof"]
    assert 1 <= int(query["until"][0]) - int(query["from"][0]) <= LIMIT_S
    assert base64.b64decode(headers["Authorization"].removeprefix("Basic ")) == b"me:secret"
    assert b"six" in gzip.decompress(parts["profile"])
    told = decoded(parts["profile"])
    if told is not None:
        assert any(frame[0] == "six" for sample in told["samples"] for frame in sample["frames"])
        assert ["wall", "nanoseconds"] in told["types"]
    assert set(json.loads(parts["sample_type_config"])) == {"wall"}


def test_what_a_store_refuses_is_said_once_and_counted(target, store):
    busy, _ = target(OURS, "shares.py")
    store.status = 403
    process = pushing(busy.pid, f"http://127.0.0.1:{store.server_address[1]}", "-d", "2.5")
    told, error = process.communicate(timeout=LIMIT_S)
    assert error.count("not taken: HTTP 403: no \\x1b[1m") == 1
    assert "0 profiles sent, " in told
    assert process.returncode == 6
    assert len(store.got) % 2 == 0, "each is tried twice"


def test_a_store_that_takes_its_time_does_not_stop_the_sampling(target, store):
    busy, _ = target(OURS, "shares.py")
    store.takes.clear()
    process = pushing(busy.pid, f"http://127.0.0.1:{store.server_address[1]}", "-d", "3")
    lines = [process.stderr.readline(), process.stderr.readline()]
    assert "not taken: it takes longer for one profile than until the next one" in lines[1], lines
    store.takes.set()
    told, _ = process.communicate(timeout=LIMIT_S)
    assert " profiles sent, " in told
    assert not told.startswith("0 ")


def test_a_target_that_ends_ends_it(target, store):
    busy, _ = target(OURS, "shares.py")
    process = pushing(busy.pid, f"http://127.0.0.1:{store.server_address[1]}")
    until = time.monotonic() + LIMIT_S
    while not store.got:
        assert time.monotonic() < until
        time.sleep(0.1)
    busy.kill()
    process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0


def test_words_that_are_no_use(target):
    busy, _ = target(OURS, "states.py", "sleep")
    for url, said in (("ftp://x", "no http or https address"), ("http://x:99999", "no http or https address")):
        process = pushing(busy.pid, url)
        assert said in process.communicate(timeout=LIMIT_S)[1]
        assert process.returncode == 2
    process = pushing(busy.pid, "http://127.0.0.1:1", "-d", "1")
    assert "ECONNREFUSED" in process.communicate(timeout=LIMIT_S)[1]
