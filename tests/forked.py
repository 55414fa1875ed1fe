"""A look by somebody else: `ask` runs in a forked child that has first changed its user, capabilities or namespaces by `become`."""

import ctypes
import os
import pickle
import signal
import struct
import traceback

import pytest

NOBODY = 65534
CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWNET, CLONE_NEWPID = 0x00020000, 0x10000000, 0x40000000, 0x20000000
_libc = ctypes.CDLL(None, use_errno=True)

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it becomes other users and makes namespaces")


def looked(ask, *become, limit_s=20):
    """What `ask()` returns (anything that can be pickled) in a child after each of `become` was called there."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            signal.alarm(limit_s)
            for one in become:
                one()
            answer = (True, ask())
        except BaseException:
            answer = (False, traceback.format_exc())
        with os.fdopen(writing, "wb") as pipe:
            pickle.dump(answer, pipe)
        os._exit(0)
    os.close(writing)
    try:
        with os.fdopen(reading, "rb") as pipe:
            fine, answer = pickle.load(pipe)
    finally:
        os.waitpid(child, 0)
    assert fine, answer
    return answer


def nobody():
    """User and group 65534, no further groups, no capabilities."""
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)


def without_capabilities():
    """Still the same user: capset(2) to nothing."""
    header = struct.pack("Ii", 0x20080522, 0)
    if _libc.capset(header, b"\0" * 24):
        raise OSError(ctypes.get_errno(), "capset")


def not_in_bounding_set(capability):
    """PR_CAPBSET_DROP."""
    return lambda: _libc.prctl(24, capability, 0, 0, 0)


def unshare(flags):
    def become():
        if _libc.unshare(flags):
            raise OSError(ctypes.get_errno(), "unshare")

    return become


def mount(kind, where, options=""):
    """mount(2) of a virtual file system, seen by this child alone (it has to unshare(CLONE_NEWNS) first)."""

    def become():
        private = 0x4000 | 0x40000  # MS_REC | MS_PRIVATE
        if _libc.mount(b"none", b"/", None, private, None) or _libc.mount(
            kind.encode(), where.encode(), kind.encode(), 0, options.encode()
        ):
            raise OSError(ctypes.get_errno(), f"mount {where}")

    return become


def forbid(number):
    """A seccomp filter that answers EPERM to the system call `number`."""

    def become():
        program = b"".join(
            (
                struct.pack("HBBI", 0x20, 0, 0, 0),  # load the number
                struct.pack("HBBI", 0x15, 0, 1, number),
                struct.pack("HBBI", 0x06, 0, 0, 0x00050000 | 1),  # SECCOMP_RET_ERRNO, EPERM
                struct.pack("HBBI", 0x06, 0, 0, 0x7FFF0000),  # SECCOMP_RET_ALLOW
            )
        )
        kept = ctypes.create_string_buffer(program)
        described = struct.pack("HxxxxxxQ", 4, ctypes.addressof(kept))
        if _libc.prctl(38, 1, 0, 0, 0) or _libc.prctl(22, 2, ctypes.c_char_p(described), 0, 0):
            raise OSError(ctypes.get_errno(), "seccomp")

    return become
