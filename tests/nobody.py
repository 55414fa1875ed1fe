"""What a user without privileges sees: a function run in a child of ours that has become nobody."""

import ctypes
import encodings.idna  # noqa: F401  nobody may not be able to read our interpreter: what is imported late, is imported now
import os
import traceback

import pytest

from pellucid.kernel import access, fds  # noqa: F401  the same

NOBODY = 65534
_SET_DUMPABLE = 4  # PR_SET_DUMPABLE


def as_nobody(look, enter=lambda: None):
    """Fails with what `look` raises (printed by the child). `enter` is called before, as root."""
    if os.getuid():
        pytest.skip("becoming another user needs root")
    child = os.fork()
    if child == 0:
        status = 1
        try:
            enter()
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            ctypes.CDLL(None).prctl(_SET_DUMPABLE, 1)  # as an exec does; else its own /proc/self/fd is root's
            look()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0, "see what the child printed"
