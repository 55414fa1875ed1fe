"""What a build publishes of itself at the start of _PyRuntime, and what garbage there does."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.runtimes.cpython import debug_offsets
from pellucid.runtimes.cpython.debug_offsets import COOKIE, Garbled
from pellucid.runtimes.cpython.frames import Frames
from pellucid.runtimes.cpython.layouts import TABLES, table
from pellucid.runtimes.cpython.records import Record

PUBLISHING = [minor for minor in TABLES if table(minor).published]


def head_of(minor, **changed):
    """_Py_DebugOffsets with the values of the generated table, and 8 for fields that it has not."""
    known = table(minor)
    values = {name: known.offsets.get(name, 8) for name in known.published}
    values["version"] = 3 << 24 | minor << 16 | 0xF0
    values["free_threaded"] = 0
    values["interpreter_state.gil_runtime_state"] = 7000
    values["interpreter_state.gil_runtime_state_locked"] = 7000 + known.offsets["gil.locked"]
    values["interpreter_state.gil_runtime_state_holder"] = 7000 + known.offsets["gil.last_holder"]
    values |= changed
    return COOKIE + struct.pack(f"<{len(values)}Q", *values.values())


def test_versions_before_3_13_publish_nothing():
    assert PUBLISHING == [13, 14, 15]
    assert debug_offsets.published(bytes(4096)) is None
    assert debug_offsets.published(b"xdebugp") is None
    assert debug_offsets.layout(table(11), bytes(4096)).offsets == table(11).offsets


@pytest.mark.parametrize("minor", PUBLISHING)
def test_what_is_published_goes_before_the_table(minor):
    head = head_of(minor, **{"thread_state.datastack_chunk": 500, "interpreter_frame.owner": 99})
    own = debug_offsets.published(head)
    assert (own.version >> 16, own.free_threaded) == (3 << 8 | minor, False)
    layout = debug_offsets.layout(table(minor), head)
    assert layout["interpreter_frame.owner"] == 99
    assert layout["thread_state.datastack_top"] == 508, "what no build publishes moves with its neighbour"
    assert layout["gil.locked"] == table(minor).offsets["gil.locked"]
    assert layout["lock.mutex" if minor >= 14 else "lock.semaphore"] == 16
    assert layout.get("no.such_field") is None


@pytest.mark.parametrize("minor", PUBLISHING)
def test_a_free_threaded_build_says_so(minor):
    assert debug_offsets.published(head_of(minor, free_threaded=1)).free_threaded


@pytest.mark.parametrize("minor", PUBLISHING)
def test_an_offset_beyond_all_structs_is_garbled(minor):
    with pytest.raises(Garbled, match=r"code_object\.name would be"):
        debug_offsets.layout(table(minor), head_of(minor, **{"code_object.name": 1 << 40}))
    with pytest.raises(Garbled, match="end after 100 bytes"):
        debug_offsets.layout(table(minor), head_of(minor)[:100])


def test_fields_in_another_order_than_planned_are_garbled():
    layout = debug_offsets.layout(table(13), head_of(13, **{"interpreter_frame.owner": 1}))
    with pytest.raises(Garbled, match=r"interpreter_frame\.owner"):
        Frames(None, layout)
    with pytest.raises(Garbled):
        Record(layout, (("code_object.name", "Q"), ("code_object.name", "Q")))


@settings(max_examples=300, deadline=1000)
@given(st.binary(max_size=1200), st.sampled_from(PUBLISHING))
def test_garbage_after_the_cookie_is_garbled_or_some_layout(content, minor):
    debug_offsets.published(COOKIE + content)
    try:
        layout = debug_offsets.layout(table(minor), COOKIE + content)
        Frames(None, layout)
    except Garbled:
        return
    assert all(isinstance(value, int) for value in layout.offsets.values())


@pytest.mark.parametrize("minor", TABLES)
def test_every_table_has_the_fields_that_the_walk_needs(minor):
    known = table(minor)
    Frames(None, debug_offsets.Layout(minor, known.offsets))
    assert known.minor == minor
    assert len(set(known.published)) == len(known.published)


def test_there_is_no_table_for_other_versions():
    assert table(10) is None
    assert table(99) is None
