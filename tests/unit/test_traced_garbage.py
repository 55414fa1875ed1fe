"""Records of the kernel's rings, and what was copied of foreign memory: garbage makes nothing fail and nothing hang."""

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.kernel import perf, perf_decode
from pellucid.kernel.bpf_decode import Decoder
from pellucid.kernel.bpf_records import CALL, CALLED, CODE, CODE_HEAD, FORK, FORKED, FRAME, HEAD, STACK, STACK_HEAD
from pellucid.kernel.perf_decode import ENTER, EXIT, paired, samples, summed, tasks
from pellucid.kernel.traced import FRAME as PACKED_FRAME
from pellucid.kernel.traced import OWNER_SHIFT, Called, CodeTold, Forked, StackTold
from pellucid.kernel.tracefs import fields
from pellucid.runtimes.cpython.debug_offsets import Layout
from pellucid.runtimes.cpython.layouts import TABLES, table
from pellucid.runtimes.cpython.traced import UNTOLD, Build, Naming, stack_layout

kinds = st.sampled_from([CALLED, FORKED, STACK, CODE, 3, 4, 5, 99])


@given(kinds, st.binary(max_size=3000))
def test_no_record_makes_the_decoder_fail(kind, body):
    decoder = Decoder()
    told = decoder.record(struct.pack("<I", kind) + body)
    if isinstance(told, StackTold):
        assert len(told.frames) % PACKED_FRAME.size == 0


def test_a_record_that_ends_too_early_is_counted():
    decoder = Decoder()
    assert decoder.record(struct.pack("<I", CALLED) + bytes(10)) is None
    assert decoder.record(b"") is None
    assert decoder.garbled == 2


def test_a_call_as_the_program_writes_it():
    head = CALL.pack(
        kind=CALLED, tgid=7, pid=7, tid=8, time=1000, duration=10, number=257, di=1, si=2, result=(1 << 64) - 2,
        path_length=3, second_length=2, address_length=4, key=5, stack=6,
    )  # fmt: skip
    told = Decoder().record(head + b"ab\0" + b"c\0" + b"wxyz")
    assert told == Called(7, 8, 257, (1, 2, 0, 0, 0, 0), -2, 1000, 10, b"ab", b"c", b"wxyz", 6, 5)
    assert told.failed


def test_a_child_in_a_pid_namespace_is_told_when_its_number_is_known():
    decoder = Decoder()
    assert decoder.record(FORK.pack(kind=FORKED, tgid=500, pid=2, tid=500, time=9, child=501)) is None
    assert decoder.record(HEAD.pack(kind=5, tgid=501, pid=3, tid=501, time=10)) == Forked(2, 3, 9)
    assert decoder.pids == {501: 3}
    assert decoder.tgids == {3: 501}


def build(minor):
    known = table(minor)
    return Build(f"CPython 3.{minor}", Layout(minor, known.offsets), stack_layout(0x1000, Layout(minor, known.offsets)))


@pytest.mark.parametrize("minor", TABLES)
@settings(max_examples=60)
@given(
    st.binary(min_size=0, max_size=216),
    st.binary(max_size=80),
    st.binary(max_size=80),
    st.binary(max_size=400),
    st.integers(0, (1 << 64) - 1),
)
def test_no_code_object_makes_naming_fail(minor, head, file, name, lines, instruction):
    naming = Naming()
    naming.told(CodeTold(1, 2, 0x5000, head, file, name, name, lines, False), build(minor), None)
    stack = StackTold(9, 2, PACKED_FRAME.pack(1, 0x5000, instruction) + PACKED_FRAME.pack(77, 1, 2), False)
    found = naming.frames(stack)
    assert found[-1] == UNTOLD
    assert len(found) <= 2


def _text(text, minor):
    layout = table(minor).offsets
    state = (
        1 << layout["unicode_object.kind_bit"]
        | 1 << layout["unicode_object.compact_bit"]
        | 1 << layout["unicode_object.ascii_bit"]
    )
    raw = bytearray(layout["unicode_object.asciiobject_size"])
    struct.pack_into("<Q", raw, layout["unicode_object.length"], len(text))
    struct.pack_into("<I", raw, layout["unicode_object.state"], state)
    return bytes(raw) + text.encode() + b"\0 and what lies behind it"


@pytest.mark.parametrize("minor", TABLES)
def test_names_and_lines_of_a_copied_code_object(minor):
    layout = table(minor).offsets
    head = bytearray(216)
    struct.pack_into("<i", head, layout["code_object.firstlineno"], 10)
    lines = bytes([0x80 | 13 << 3 | 7, 0, 0x80 | 13 << 3 | 7, 2])  # eight units on line 10, eight on line 11
    naming = Naming()
    told = CodeTold(
        1, 2, 0x5000, bytes(head), _text("/srv/app.py", minor), _text("f", minor), _text("C.f", minor), lines, True
    )
    naming.told(told, build(minor), None)
    start = 0x5000 + layout["code_object.co_code_adaptive"]
    (frame,) = naming.frames(StackTold(1, 2, PACKED_FRAME.pack(1, 0x5000, start + 2 * 9 | 1 << OWNER_SHIFT), False))
    assert (frame.function, frame.qualname, frame.file, frame.line) == ("f", "C.f", "/srv/app.py", 11)


def enters(*rows):
    found = np.zeros(len(rows), ENTER)
    for place, (pid, tid, time, number) in enumerate(rows):
        found[place]["pid"], found[place]["tid"], found[place]["time"], found[place]["number"] = pid, tid, time, number
    return found


def exits(*rows):
    found = np.zeros(len(rows), EXIT)
    for place, (pid, tid, time, number, result) in enumerate(rows):
        found[place]["pid"], found[place]["tid"], found[place]["time"] = pid, tid, time
        found[place]["number"], found[place]["result"] = number, result
    return found


def test_beginnings_and_ends_are_joined_by_thread():
    begun = enters((1, 1, 10, 0), (1, 2, 11, 257), (1, 1, 20, 0), (1, 2, 30, 1), (1, 2, 40, 5))
    ended = exits((1, 2, 15, 257, -2), (1, 1, 12, 0, 5), (1, 1, 29, 0, 5))
    found = paired(begun, ended)
    assert [(int(a["tid"]), int(b["time"] - a["time"])) for a, b in zip(found.begin, found.end, strict=True)] == [
        (1, 2),
        (1, 9),
        (2, 4),
    ]
    assert sorted(found.open["time"]) == [30, 40]  # their ends are not read yet
    sums = {each.number: (each.calls, each.errors, each.total_ns, each.max_ns) for each in summed(found)}
    assert sums == {0: (2, 0, 11, 9), 257: (1, 1, 4, 4)}


def test_a_beginning_whose_end_was_lost_does_not_take_another_ones():
    begun = enters((1, 1, 10, 0), (1, 1, 20, 257))
    found = paired(begun, exits((1, 1, 25, 257, 3)))
    assert [int(each["number"]) for each in found.begin] == [257]
    assert not len(found.open)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 50), st.integers(0, 2)), max_size=30),
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 50), st.integers(0, 2), st.integers(-3, 3)),
        max_size=30,
    ),
)
def test_no_records_make_joining_fail(begun, ended):
    found = paired(enters(*begun), exits(*ended))
    assert len(found.begin) == len(found.end) <= min(len(begun), len(ended))
    assert (found.begin["tid"] == found.end["tid"]).all()
    assert sum(each.calls for each in summed(found)) == len(found.begin)


@given(st.binary(max_size=600))
def test_no_ring_makes_its_reader_fail(raw):
    for shape in (ENTER, EXIT):
        found, lost = samples(raw, shape)
        assert len(found) * shape.itemsize <= len(raw)
        assert lost >= 0
    tasks(raw)


def test_lost_records_between_samples_are_counted():
    one = enters((1, 1, 10, 0))
    one["type"], one["size"] = perf.SAMPLE, ENTER.itemsize
    lost = struct.pack("<IHHQQ", perf.LOST, 0, 24, 0, 77)
    found, count = samples(one.tobytes() + lost + one.tobytes(), ENTER)
    assert (len(found), count) == (2, 77)


def test_what_tracefs_says_of_a_tracepoint():
    said = b"""name: sys_enter
ID: 348
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;

\tfield:long id;\toffset:8;\tsize:8;\tsigned:1;
\tfield:unsigned long args[6];\toffset:16;\tsize:48;\tsigned:0;
"""
    assert fields(said) == {"common_type": 0, "id": 8, "args": 16}
    assert perf_decode.fits("sys_enter", fields(said))
    assert not perf_decode.fits("sys_enter", {"id": 12, "args": 16})


def test_frames_have_the_form_that_the_programs_give_them():
    assert (FRAME.size, STACK_HEAD.size % 8, CODE_HEAD.size % 8) == (PACKED_FRAME.size, 0, 0)


def test_no_record_wakes_the_reader():
    """wakeup_events is compared as a signed int by the kernel: what is negative there is reached by every record."""
    for described in (perf.attributes(perf.TRACEPOINT, 1), perf.clock_attributes(1_000_000)):
        (wakeup_events,) = struct.unpack_from("<i", described, 48)
        assert wakeup_events > 1_000_000
