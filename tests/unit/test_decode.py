"""Calls in words; and no number and no byte makes a decoder fail."""

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.kernel import decode, decode_flags, syscalls
from pellucid.kernel.decode_address import address
from pellucid.kernel.decode_calls import ALWAYS, FILES, KINDS, NETWORK, wanted
from pellucid.kernel.traced import COMPAT, Called

registers = st.integers(0, (1 << 64) - 1)


def call(name, *arguments, result=0, **more):
    return Called(1, 1, syscalls.number(name), (*arguments, *(0,) * 6)[:6], result, 0, 0, **more)


def c(number):
    """A C int in a register."""
    return number & (1 << 64) - 1


@pytest.mark.parametrize(
    ("made", "expected"),
    [  # as strace prints them
        (call("openat", c(-100), 1, 0o102, 0o644, path=b"/tmp/x"), 'openat(AT_FDCWD, "/tmp/x", O_RDWR|O_CREAT, 0644)'),
        (call("openat", 7, 1, 0o2000000, path=b"x"), 'openat(7</srv>, "x", O_RDONLY|O_CLOEXEC, 00)'),
        (call("read", 3, 0x7F00, 100), "read(3, 0x7f00, 100)"),
        (call("mmap", 0, 4096, 3, 0x22, c(-1), 0), "mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0)"),
        (call("renameat2", c(-100), 1, c(-100), 2, 1, path=b"a", second=b"b"), 'renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_NOREPLACE)'),
        (call("futex", 0x10, 393, 2), "futex(0x10, FUTEX_WAIT_BITSET_PRIVATE|FUTEX_CLOCK_REALTIME, 2, NULL, NULL, 0)"),
        (call("kill", c(-1), 9), "kill(-1, SIGKILL)"),
        (call("socket", 2, 0o2004001, 0), "socket(AF_INET, SOCK_STREAM|SOCK_NONBLOCK|SOCK_CLOEXEC, 0)"),
        (call("epoll_wait", 4, 0x20, 64, c(-1)), "epoll_wait(4, 0x20, 64, for ever)"),
        (call("lseek", 3, c(-5), 2), "lseek(3, -5, SEEK_END)"),
        (call("access", 1, 0, path=b"/x"), 'access("/x", F_OK)'),
        (call("access", 1, 6, path=b"/x"), 'access("/x", W_OK|R_OK)'),
        (call("unlinkat", 5, 1, 0x200, path=b"d"), 'unlinkat(5, "d", AT_REMOVEDIR)'),
        (call("clone", 0x1200011), "clone(CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID|SIGCHLD, NULL, NULL, NULL, NULL)"),
        (call("open", 0x77, 0), "open(0x77, O_RDONLY, 00)"),
        (call("pipe2", 0x30, 0o2000000, address=struct.pack("<ii", 3, 4)), "pipe2([3, 4], O_RDONLY|O_CLOEXEC)"),
    ],
)  # fmt: skip
def test_a_call_in_words(made, expected):
    assert decode.text(made, lambda fd: "/srv" if fd == 7 else "") == expected


def test_addresses():
    inet = struct.pack("<H", 2) + (5432).to_bytes(2, "big") + socket.inet_aton("10.0.0.7") + bytes(8)
    inet6 = (
        struct.pack("<H", 10) + (80).to_bytes(2, "big") + bytes(4) + socket.inet_pton(socket.AF_INET6, "::1") + bytes(4)
    )
    assert address(inet) == "10.0.0.7:5432"
    assert address(inet6) == "[::1]:80"
    assert address(struct.pack("<H", 1) + b"/run/x.sock\0" + bytes(20)) == "/run/x.sock"
    assert address(struct.pack("<H", 1) + b"\0name" + bytes(20), 7) == "@name"
    assert address(struct.pack("<H", 1) + bytes(108)) is None
    assert address(bytes(16)) is None
    assert decode.text(call("connect", 3, 0x99, 16, address=inet + bytes(100))) == "connect(3, 10.0.0.7:5432, 16)"


def test_the_table_names_calls_that_exist_and_kinds_that_can_be_shown():
    assert [name for name in KINDS if syscalls.number(name) is None] == []
    shown = {"-", "fd", "dirfd", "path", "sockaddr", "sockaddrout", "pair", *decode._SIMPLE}
    assert [
        kind for kinds in KINDS.values() for kind in kinds if kind not in shown and decode_flags.words(kind, 1) is None
    ] == []
    assert {*ALWAYS, *FILES, *NETWORK} <= KINDS.keys()


def test_what_a_tracer_is_asked_for():
    asked = wanted(frozenset({"connect"}), descriptors=True)
    rename, connect, splice = (asked[syscalls.number(name)] for name in ("renameat2", "connect", "splice"))
    assert (rename.path, rename.second, rename.tell) == (1, 3, False)
    assert (connect.address, connect.tell, connect.every, connect.fd_first) == (1, True, True, True)
    assert (splice.reads, splice.writes) == (0, 2)
    assert asked[syscalls.number("close")].closes == 0
    assert asked[syscalls.number("dup2")].closes == 1


def test_where_a_relative_path_begins():
    assert decode.directory_of_path(call("openat", 5, 1)) == 5
    assert decode.directory_of_path(call("openat", c(-100), 1)) is None
    assert decode.directory_of_path(call("open", 1)) is None
    assert decode.directory_of_path(call("renameat", 5, 1, 6, 2), second=True) == 6
    assert decode.directory_of_path(call("symlinkat", 1, 6, 2), second=True) == 6
    assert decode.directory_of_path(call("symlinkat", 1, 6, 2)) is None


@pytest.mark.parametrize(
    ("path", "directory", "expected"),
    [
        ("x", "/srv", "/srv/x"),
        ("./a//b/../c", "/srv/", "/srv/a/b/../c"),
        ("/abs", "/srv", "/abs"),
        ("", "/srv", "/srv"),
        (".", "/srv", "/srv"),
        ("x", None, "x"),
    ],
)
def test_an_absolute_path(path, directory, expected):
    assert decode.absolute(path, directory) == expected


def test_names_of_errors_and_of_what_is_none():
    assert decode.error_name(-2) == "ENOENT"
    assert decode.error_name(-512) == "ERESTARTSYS"
    assert decode.error_name(3) == decode.error_name(-4096) == ""
    assert decode.name(COMPAT + 3) == "32-bit syscall 3"


@given(
    st.sampled_from([*KINDS, "getpriority"]),
    st.lists(registers, min_size=6, max_size=6),
    st.binary(max_size=200),
    st.booleans(),
)
def test_no_number_makes_it_fail(name, arguments, raw, with_bytes):
    strings = {"path": raw, "second": raw[:7], "address": raw} if with_bytes else {}
    made = call(name, *arguments, **strings)
    assert decode.text(made).startswith(f"{name}(")
    decode.directory_of_path(made)
    decode.directory_of_path(made, second=True)
    decode.socket_address(made)


@given(st.integers(0, 1 << 40), st.integers(-(1 << 63), (1 << 63) - 1))
def test_no_call_number_makes_it_fail(number, result):
    made = Called(1, 1, number, (1,) * 6, result, 0, 0)
    assert decode.text(made)
    decode.error_name(result)


@given(st.binary(max_size=300), st.none() | st.integers(-(1 << 31), 1 << 31))
def test_no_address_makes_it_fail(raw, length):
    found = address(raw, length)
    assert found is None or isinstance(found, str)


@given(st.sampled_from([*decode_flags.MASKS, *decode_flags.VALUES, *decode_flags._SPELT]), registers)
def test_no_bit_is_dropped(kind, number):
    assert decode_flags.words(kind, number)
