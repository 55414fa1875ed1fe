"""Before others: for what sleeps most of the time, and loses something when it wakes too late."""

import os
from contextlib import suppress

_NICE = -10


def hurry() -> None:
    """Raise the priority of this thread (setpriority(2) is about threads on Linux). Where that is not permitted, a busy machine may have us come late."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, _NICE)
