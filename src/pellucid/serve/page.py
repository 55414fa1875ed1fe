"""The admin port of a model server: the live page of this machine, begun when somebody opens it.

    supervisor ── the port, which it listens on, and nothing else
        └─ first connection  →  `pellucid.present.web.activated`, which takes the port over and ends once nobody looks any more

So it costs one descriptor while nobody looks, and the supervisor itself never imports a web server. The address with its token goes to stdout,
as `pellucid web` prints it, and into no log.
"""

import os
import secrets
import selectors
import socket
import sys
import time

from pellucid.serve import processes
from pellucid.serve.children import Children
from pellucid.serve.log import Record, Screen

TOKEN = "PELLUCID_PAGE_TOKEN"
AGAIN_S = 5.0
"""One that could not begin is tried again no sooner."""
NICE = 5


class Page:
    """The supervisor's side. `listener`: on the loopback interface."""

    def __init__(
        self, listener: socket.socket, selector: selectors.BaseSelector, children: Children, screen: Screen
    ) -> None:
        self._listener = listener
        self._selector = selector
        self._children = children
        self._screen = screen
        self._token = secrets.token_urlsafe(32)
        self._pid = 0
        self._not_before = 0.0
        self._waits = False

    @property
    def address(self) -> str:
        """For a browser of this machine; who has it may look."""
        host, port = self._listener.getsockname()[:2]
        return f"http://{host}:{port}/?token={self._token}#/serving"

    def tick(self, now: float) -> None:
        """Wait for somebody to come, where nobody is served and it is time; to be called now and then."""
        if not self._pid and not self._waits and now >= self._not_before:
            self._selector.register(self._listener, selectors.EVENT_READ, self._begin)
            self._waits = True

    def _begin(self) -> None:
        self._rest()
        self._not_before = time.monotonic() + AGAIN_S
        line = [sys.executable, "-P", "-m", "pellucid.present.web.activated", str(self._listener.fileno()), str(NICE)]
        environment = {**os.environ, TOKEN: self._token}  # not on the command line, which everybody may read
        self._pid = processes.spawn(line, environment, [self._listener.fileno()])
        self._children.watch(self._pid, self._ended)

    def _rest(self) -> None:
        if self._waits:
            self._selector.unregister(self._listener)
            self._waits = False

    def _ended(self) -> None:
        death = self._children.reap(self._pid)
        self._pid = 0
        if death.status or death.signal:
            told = f"the page on the admin port {'was ' if death.signal else ''}{death}; it begins again when somebody opens it"
            self._screen.tell(Record(level="warning", event="page_ended", sentence=told))

    def end(self) -> None:
        """Nobody comes in any more; the page itself ends with the supervisor's other children."""
        self._rest()
        self._listener.close()
