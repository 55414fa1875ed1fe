"""`pellucid web --open`: the page in the person's browser, without the token on any command line, which everybody may read."""

import contextlib
import html
import os
import tempfile
import threading
import webbrowser
from collections.abc import Iterator

_PAGE = (
    '<!doctype html><meta charset="utf-8"><meta name="referrer" content="no-referrer">'
    '<meta http-equiv="refresh" content="0;url={}"><title>pellucid</title>\n'
)


@contextlib.contextmanager
def leading(address: str) -> Iterator[str]:
    """The path of a file that only we may read and that leads to `address`, for as long as the context is open."""
    handle, path = tempfile.mkstemp(prefix="pellucid-", suffix=".html")  # 0600
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(_PAGE.format(html.escape(address)))
        yield path
    finally:
        os.unlink(path)


def show(path: str) -> None:
    """Open the file in whatever browser there is; returns at once, for some browsers run in the foreground."""
    threading.Thread(target=webbrowser.open, args=(f"file://{path}",), daemon=True).start()
