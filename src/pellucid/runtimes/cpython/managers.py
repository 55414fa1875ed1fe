"""Which thread of a manager serves which connection: `Server.serve_client(self, conn)` of Lib/multiprocessing/managers.py has it as `conn`."""

from pellucid.kernel.memory import Unreadable
from pellucid.runtimes.cpython.standard_library import library_path
from pellucid.runtimes.cpython.sync import Sights


def connections(sights: Sights) -> dict[int, int]:
    """Tid → the descriptor of the connection; empty in a process that is no manager."""
    found: dict[int, int] = {}
    for sight in sights.threads.values():
        for frame in sight.frames:
            if frame.qualname != "Server.serve_client" or library_path(frame.file) != "multiprocessing/managers.py":
                continue
            try:
                found[sight.tid] = sights.values.number(sights.values.named(frame.local("conn"), "_handle"))
            except Unreadable:
                continue  # it is about to close the connection
    return found
