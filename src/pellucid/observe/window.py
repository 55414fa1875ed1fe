"""The time that the longer looks of `why` share, and what each of them gives back (see `observe.watching`)."""

import threading
import time

from msgspec import Struct

from pellucid.model import Gap


class Window:
    """The time that the longer looks share. It closes when it is over, when the process ends, and at Ctrl-C."""

    def __init__(self, seconds: float) -> None:
        self.began = time.monotonic()
        self.seconds = seconds
        self._ends = self.began + seconds
        self._closed = threading.Event()

    def left(self) -> float:
        """Seconds until it is over, 0 when it is."""
        return 0.0 if self._closed.is_set() else max(0.0, self._ends - time.monotonic())

    def over(self) -> bool:
        return not self.left()

    def wait(self, seconds: float) -> bool:
        """Wait, at most until it is over; whether there is time left."""
        self._closed.wait(min(seconds, self.left()))
        return not self.over()

    def rest(self) -> None:
        """Wait until it is over."""
        while self.wait(self.left()):
            pass

    def close(self) -> None:
        self._closed.set()


class Seen(Struct, frozen=True):
    """What a longer look gives back. `value` becomes its field of `OverTime`."""

    value: Struct | None
    gaps: tuple[Gap, ...] = ()
