"""`pellucid web` as the tests run it: started once, its address read from what it prints, ended by Ctrl-C."""

import contextlib
import http.client
import signal
import subprocess
import sys
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
