"""On each node of the cluster, as a Ray actor without a CPU of its own: which incidents its wardens have kept since we asked last."""

import contextlib
import os

from pellucid.serve.incidents import Incidents

MOST = 50
"""Of the newest incidents, so many are compared at each question."""


class Node:
    """Incidents that were there before it was made are no news."""

    def __init__(self) -> None:
        self.incidents = Incidents()
        self._told = {name: self._changed(name) for name in self.incidents.ids()}

    def news(self) -> list[bytes]:
        """Incidents, as their JSON, that are new or say more than before; oldest first."""
        found = []
        for name in reversed(self.incidents.ids()[:MOST]):
            changed = self._changed(name)
            if self._told.get(name) == changed:
                continue
            self._told[name] = changed
            with contextlib.suppress(OSError), open(self._path(name), "rb") as file:  # forgotten meanwhile
                found.append(file.read())
        return found

    def _path(self, name: str) -> str:
        return os.path.join(self.incidents.root, f"{name}.json")

    def _changed(self, name: str) -> tuple[int, int]:
        try:
            status = os.stat(self._path(name))
        except OSError:
            return 0, 0
        return status.st_mtime_ns, status.st_ino
