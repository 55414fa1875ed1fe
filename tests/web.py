"""`pellucid web` as the tests run it: started once, its address read from what it prints, ended by Ctrl-C."""

import contextlib
import http.client
import json
import signal
import subprocess
import sys
import time
from urllib.parse import parse_qs, urlsplit


class Web:
    """`url` has the token; `port` and `token` are its parts. `environment`: the one that it was started with."""

    def __init__(self, *options, **more):
        self.environment = more.get("env")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pellucid", "web", *options], stdout=subprocess.PIPE, text=True, **more
        )
        self.url = self.process.stdout.readline().strip()
        parts = urlsplit(self.url)
        self.port, self.token = parts.port, parse_qs(parts.query).get("token", [""])[0]
        self.base = f"http://127.0.0.1:{self.port}"

    def ask(self, method, path, headers=None, body=None, bearer=True):
        """(status, headers, body) of one request, by default of a program that has the token."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        given = {"authorization": f"Bearer {self.token}"} if bearer else {}
        try:
            connection.request(method, path, body, {**given, **(headers or {})})
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def events(self, path, within_s):
        """(name, value) of each event of a stream, for as long as nobody breaks off; fails where none comes for so long."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=within_s)
        connection.request("GET", path, headers={"authorization": f"Bearer {self.token}"})
        stream, name = connection.getresponse(), ""
        try:
            while line := stream.readline():
                if line.startswith(b"event: "):
                    name = line.removeprefix(b"event: ").strip().decode()
                elif line.startswith(b"data: "):
                    yield name, json.loads(line.removeprefix(b"data: "))
        finally:
            connection.close()

    def finished(self, name, within_s=60.0):
        """The answer of the job `name`, once it has ended."""
        limit = time.monotonic() + within_s
        while time.monotonic() < limit:
            answer = json.loads(self.ask("GET", f"/api/jobs/{name}")[2])
            if answer["job"]["state"] != "running":
                return answer
            time.sleep(0.1)
        raise AssertionError("it does not end")

    def end(self):
        """Its exit status."""
        self.process.send_signal(signal.SIGINT)
        with self.process:
            return self.process.wait(60)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.end()
            self.process.kill()
