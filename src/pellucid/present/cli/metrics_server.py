"""The answers of `pellucid metrics`: http.server, one page, looked at anew at most once a second however often it is asked."""

import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from pellucid.export.prometheus import CONTENT_TYPE, text
from pellucid.model.errors import UsageError, os_words
from pellucid.present.view.board import Board
from pellucid.present.view.measured import families

_FRESH_S = 1.0
_CLIENT_S = 10.0


def once() -> str:
    """One look at everything, without findings: those take a walk."""
    board = Board()
    board.look()
    return text(families(board))


class Page:
    """The text, as old as `_FRESH_S` at most."""

    def __init__(self) -> None:
        self._board = Board()
        self._board.scan.start()
        self._lock = threading.Lock()
        self._at = float("-inf")
        self._text = ""

    def text(self) -> str:
        with self._lock:
            if time.monotonic() - self._at >= _FRESH_S:
                self._board.look()
                self._text = text(families(self._board))
                self._at = time.monotonic()
            return self._text

    def close(self) -> None:
        self._board.close()


def serve(address: str, port: int) -> None:
    """Until Ctrl-C. Raises UsageError: it can't listen there."""
    page = Page()

    class Handler(BaseHTTPRequestHandler):
        timeout = _CLIENT_S
        server_version = "pellucid"
        sys_version = ""

        def do_GET(self) -> None:
            found = self.path.partition("?")[0] == "/metrics"
            body = page.text().encode() if found else b"There is only /metrics here.\n"
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", CONTENT_TYPE if found else "text/plain")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """A line for each scrape would be all that its log holds."""

    try:
        server = ThreadingHTTPServer((address, port), Handler)
    except OSError as error:
        page.close()
        remedy = "pellucid metrics --port 0  (takes a free one)"
        raise UsageError(tried=f"listen on {address} port {port}", said=os_words(error), remedy=remedy) from None
    server.daemon_threads = True
    with server:
        print(f"http://{address}:{server.server_address[1]}/metrics", file=sys.stderr, flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return
        finally:
            page.close()
