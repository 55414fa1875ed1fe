"""`python -m pellucid.present.web.activated FD NICE`: the page on a socket that somebody else listens on, until nobody looks any more.

The token comes by the environment, which what is started here does not get. This is the other half of `serve`'s admin port.
"""

import os
import socket
import sys

from pellucid.present.web.server import Way, serve_on

TOKEN = "PELLUCID_PAGE_TOKEN"
LEAVE_S = 120.0
"""Without an open page and without a look that runs."""


def main() -> int:
    fd, nice = int(sys.argv[1]), int(sys.argv[2])
    os.nice(nice)
    os.set_inheritable(fd, False)
    listener = socket.socket(fileno=fd)
    serve_on(listener, Way(token=os.environ.pop(TOKEN), leave_s=LEAVE_S, announced=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
