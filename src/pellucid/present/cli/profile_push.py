"""`profile PID --push URL`: a profile every few seconds to a store that speaks Pyroscope's POST /ingest, until Ctrl-C.

Each is pprof, as `-F pprof` writes it (grafana.com/docs/pyroscope, Server HTTP API). One that the store does not take is tried once more,
then counted as lost: a store that is away must not make this process grow.
"""

import http.client
import json
import os
import secrets
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, quote, urlencode, urlsplit

from msgspec import Struct
from msgspec.structs import replace

from pellucid.export.profiles import encode
from pellucid.model.errors import UsageError, os_words
from pellucid.present.cli import launch, screen

if TYPE_CHECKING:
    from pellucid.model import Process
    from pellucid.model.profile import Profile
    from pellucid.observe.sampler import Asked

LIMIT_S: Final = 10.0
TRIES: Final = 2
_ERROR: Final = 300
"""Of the store's own words."""


class Pushed(Struct, frozen=True):
    """How it went: profiles that the store has taken, those that were lost, and what was said of the last of them."""

    taken: int = 0
    lost: int = 0
    said: str = ""


class Store:
    """Where they go. `name` is the application. Raises UsageError: the address is none."""

    def __init__(self, url: str, name: str) -> None:
        self._url = urlsplit(url)
        self._name = name
        try:
            usable = self._url.scheme in ("http", "https") and bool(self._url.hostname) and (self._url.port or 1) > 0
        except ValueError:
            usable = False
        if not usable:
            raise UsageError(
                tried=f"send profiles to {url}",
                said="it is no http or https address",
                remedy="--push http://pyroscope:4040",
            )

    @property
    def shown(self) -> str:
        """The address without a password."""
        port = f":{self._url.port}" if self._url.port else ""
        return f"{self._url.scheme}://{self._url.hostname}{port}{self._url.path.rstrip('/')}"

    def push(self, profile: "Profile") -> str:
        """Why it was not taken, "" where it was."""
        said = ""
        for _ in range(TRIES):
            try:
                said = self._post(profile)
            except (OSError, http.client.HTTPException) as error:
                said = (
                    os_words(error)
                    if isinstance(error, OSError) and error.errno
                    else str(error) or type(error).__name__
                )
            if not said:
                break
        return said

    def _post(self, profile: "Profile") -> str:
        ends = profile.began_at + profile.duration_ns / 1e9
        query = {
            "name": self._name,
            "from": int(profile.began_at),
            "until": max(int(ends), int(profile.began_at) + 1),
            "format": "pprof",
            "spyName": "pellucid",
        }
        boundary = secrets.token_hex(16)
        kinds = {
            profile.mode: {
                "units": "nanoseconds",
                "display-name": profile.mode,
                "aggregation": "sum",
                "cumulative": False,
            }
        }
        body = b"".join(
            (
                _part(boundary, "profile", encode(profile, "pprof"), "profile.pprof"),
                _part(boundary, "sample_type_config", json.dumps(kinds).encode(), "sample_type_config.json"),
                f"--{boundary}--\r\n".encode(),
            )
        )
        assert self._url.hostname
        kind = http.client.HTTPSConnection if self._url.scheme == "https" else http.client.HTTPConnection
        connection = kind(self._url.hostname, self._url.port, timeout=LIMIT_S)
        try:
            path = f"{quote(self._url.path.rstrip('/'))}/ingest?{urlencode(query)}"
            headers = {"Content-Type": f"multipart/form-data; boundary={boundary}", **_authorization(self._url)}
            connection.request("POST", path, body, headers)
            answer = connection.getresponse()
            words = answer.read(_ERROR).decode("utf-8", "replace").strip()
        finally:
            connection.close()
        return "" if answer.status < http.client.MULTIPLE_CHOICES else f"HTTP {answer.status}: {words or answer.reason}"


def _authorization(url: SplitResult) -> dict[str, str]:
    """By $PELLUCID_PUSH_TOKEN, or name and password in the address; the command line of a process can be read by others, its environment not."""
    import base64

    if token := os.environ.get("PELLUCID_PUSH_TOKEN"):
        return {"Authorization": f"Bearer {token}"}
    if url.username:
        both = ":".join((url.username, url.password or ""))
        return {"Authorization": f"Basic {base64.b64encode(both.encode()).decode()}"}
    return {}


def _part(boundary: str, name: str, content: bytes, file: str) -> bytes:
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="{file}"\r\n\r\n'
    return head.encode() + content + b"\r\n"


class Pushing:
    """What is under way. One profile is sent while the next one is taken; where that takes longer, the next one is lost: a slow store must not stop the sampling."""

    def __init__(self, store: Store, say: Callable[[str], None]) -> None:
        self.pushed = Pushed()
        self._store = store
        self._say = say
        self._sender = ThreadPoolExecutor(1)
        self._sending: Future[str] | None = None
        self._told: set[str] = set()
        """What was said since the store took one."""

    def send(self, profile: "Profile") -> None:
        """What goes wrong is said at once, and again only after it went well."""
        if self._sending is not None and not self._sending.done():
            self._count("it takes longer for one profile than until the next one")
        else:
            self.settle()
            self._sending = self._sender.submit(self._store.push, profile)

    def settle(self) -> None:
        """Wait for the one that is under way."""
        if self._sending is not None:
            self._count(self._sending.result())
            self._sending = None

    def _count(self, said: str) -> None:
        if not said:
            self._told.clear()
        elif said not in self._told:
            self._told.add(said)
            self._say(screen.printable(f"not taken: {said}"))
        self.pushed = Pushed(self.pushed.taken + (not said), self.pushed.lost + bool(said), said)


def run(store: Store, process: "Process", asked: "Asked", every: float, say: Callable[[str], None]) -> Pushed:
    """Sample and send until the process ends, `asked.seconds`, or Ctrl-C."""
    from pellucid.kernel import procfs
    from pellucid.model.errors import LookError
    from pellucid.observe.sampler import sample

    pushing = Pushing(store, say)
    began = time.monotonic()
    taken = False
    with launch.interruptions() as stopped:
        while not stopped() and (asked.seconds is None or time.monotonic() - began < asked.seconds):
            left = asked.seconds - (time.monotonic() - began) if asked.seconds is not None else every
            try:
                if procfs.stat(process.pid).start_ticks != process.start_ticks:
                    break  # another process has its pid now
                profile = sample(process, replace(asked, seconds=max(0.01, min(every, left))), stopped, lambda _: None)
            except LookError as error:
                if not taken:
                    raise
                say(screen.printable(f"it goes on no more: {error.said}"))
                break
            taken = True
            pushing.send(profile)
        pushing.settle()
    return pushing.pushed
