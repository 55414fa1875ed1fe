"""A `_PyRuntime` of garbage: it is refused with a reason, in bounded time, and never read as if it were one."""

import ctypes
import os
import struct
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.kernel.memory import Memory
from pellucid.model.errors import NotUnderstood
from pellucid.runtimes.cpython import locate, recognise
from pellucid.runtimes.cpython.debug_offsets import COOKIE, MAX_SIZE
from pellucid.runtimes.cpython.layouts import TABLES, table

SIZE = 4 * MAX_SIZE
BLOCK = ctypes.create_string_buffer(SIZE)
HERE = ctypes.addressof(BLOCK)

words = st.one_of(
    st.integers(0, 2000),  # offsets
    st.integers(0, SIZE - 8).map(lambda place: HERE + place),  # pointers into itself: rings
    st.integers(0, 2**64 - 1),
)


def refused(content, version):
    """What is said of our own memory, as if its `_PyRuntime` held `content`."""
    BLOCK[: len(content)] = content
    found = locate.Found(HERE, "/program", version)
    with Memory.open(os.getpid()) as memory, pytest.raises(NotUnderstood) as error:
        recognise._understood(memory, found, ())
    assert error.value.said
    return error.value.said


@settings(max_examples=200, deadline=3000)
@given(minor=st.sampled_from(sorted(TABLES)), garbage=st.lists(words, min_size=20, max_size=300))
def test_garbage_is_refused(minor, garbage):
    version = 3 << 24 | minor << 16 | 0xF0
    began = time.process_time()
    packed = struct.pack(f"<{len(garbage)}Q", *garbage)
    refused((COOKIE + struct.pack("<QQ", version, 0) if minor >= 13 else b"") + packed, version)
    assert time.process_time() - began < 2


@settings(max_examples=100, deadline=3000)
@given(minor=st.sampled_from(sorted(TABLES)), garbage=st.lists(words, min_size=10, max_size=60))
def test_garbage_behind_sound_offsets_is_refused(minor, garbage):
    """As when a process is caught while it starts: the offsets are right, and all that they lead to is not."""
    known = table(minor)
    version = 3 << 24 | minor << 16 | 0xF0
    values = {name: known.offsets.get(name, 8) for name in known.published} | {"version": version, "free_threaded": 0}
    values |= {f"interpreter_state.gil_runtime_state{part}": 7000 for part in ("", "_locked", "_holder")}
    own = [values[name] for name in known.published]
    head = COOKIE + struct.pack(f"<{len(own)}Q", *own) if known.published else b""
    refused(head + struct.pack(f"<{len(garbage)}Q", *garbage) * 8, version)


def test_a_free_threaded_build_is_named():
    said = refused(COOKIE + struct.pack("<QQ", 0x030E00F0, 1), None)
    assert "CPython 3.14.0, a free-threaded build" in said


@pytest.mark.parametrize(
    ("version", "name"), [(0x031000A2, "3.16.0a2"), (0x030A0DF0, "3.10.13"), (0x04000000, "4.0.0")]
)
def test_a_version_without_a_table_is_named(version, name):
    assert f"it runs CPython {name} (/program): there are tables for 3.11 to 3.15" in refused(bytes(100), version)
