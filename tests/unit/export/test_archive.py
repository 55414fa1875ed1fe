"""A .pellucid file that is damaged, cut, foreign, newer or made to do harm is an error in words; never a crash, a hang or a wrong profile."""

import json
import zlib

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.export import archive, profiles
from pellucid.model.errors import UsageError
from pellucid.model.profile import NO_STACK, Profile, Run, StackNode
from tests.unit.export.build import hostile, ordinary, recursion

WHOLE = archive.encode(ordinary())


def read(content):
    return profiles.decode(content, "slow.pellucid")


def said(content):
    with pytest.raises(UsageError) as caught:
        read(content)
    assert "slow.pellucid" in caught.value.tried
    return caught.value.said


def packed(document):
    return b"pellucid profile 1\n" + zlib.compress(msgspec.msgpack.encode(document))


@pytest.mark.parametrize("made", [ordinary, recursion])
def test_what_was_kept_comes_back(made):
    assert read(archive.encode(made())) == made()


def test_hostile_names_come_back_as_they_were_but_for_what_utf8_does_not_have():
    (frame,) = read(archive.encode(hostile())).frames
    assert frame.qualname == hostile().frames[0].qualname.replace("\udcff", "\\udcff")


def test_the_first_line_says_what_it_is():
    assert WHOLE.startswith(b"pellucid profile 1\n")


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"pellucid", b"PK\x03\x04", b"{}", b"pellucid profile x\n", b"\0" * 99]
)
def test_a_foreign_file_is_told_from_a_damaged_one(content):
    assert "it is no profile that pellucid has saved" in said(content)


def test_a_newer_format_names_both_versions():
    newer = WHOLE.replace(b"profile 1\n", b"profile 2\n", 1)
    assert said(newer) == "it was written by a newer pellucid: version 2 of the format, and this one reads up to 1"


def test_a_file_that_ends_too_early_or_too_late():
    assert "cut short" in said(WHOLE[:-20])
    assert "something follows" in said(WHOLE + b"more")


def test_a_file_that_unpacks_to_more_than_any_profile_is_left_packed():
    bomb = b"pellucid profile 1\n" + zlib.compress(bytes(1 << 22))
    with pytest.raises(UsageError) as caught:
        archive.decode(bomb, "slow.pellucid", most=1 << 20)
    assert "unpacks to more than 1 MiB" in caught.value.said


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"stacks": (StackNode(0, 0),)}, "stack 0 is called by stack 0"),
        ({"stacks": (StackNode(NO_STACK, 99),)}, "frame 99 of 6"),
        ({"stacks": (StackNode(-2, 0),)}, "called by stack -2"),
        ({"duration_ns": -1}, "at no time"),
        ({"began_at": float("nan")}, "at no time"),
    ],
)
def test_types_that_are_right_and_numbers_that_are_not(changed, words):
    assert words in said(archive.encode(msgspec.structs.replace(ordinary(), tracks=(), **changed)))


@pytest.mark.parametrize(
    ("runs", "words"),
    [
        ((Run(0, 77, 1, 1),), "stack 77 of 6"),
        ((Run(0, 0, -1, 1),), "less than nothing"),
        ((Run(-5, 0, 1, 1),), "before the first"),
        ((Run(0, 0, 1, -1),), "less than nothing"),
    ],
)
def test_samples_that_can_not_be(runs, words):
    track = msgspec.structs.replace(ordinary().tracks[0], runs=runs)
    profile = msgspec.structs.replace(ordinary(), tracks=(track,))
    assert words in said(archive.encode(profile))
    document = json.loads(profiles.encode(ordinary(), "json"))
    document["profile"] = json.loads(msgspec.json.encode(profile))
    assert words in said(json.dumps(document).encode()), "a profile from JSON is believed as little"


def test_a_nest_of_ten_thousand_lists_is_no_crash():
    nest = b"\x91" * 100_000 + b"\xc0"
    assert "damaged" in said(b"pellucid profile 1\n" + zlib.compress(nest))
    extra = b"\x81\xa1x" + nest  # {"x": [[[...]]]}: a key that we don't know is skipped
    assert "damaged" in said(b"pellucid profile 1\n" + zlib.compress(extra))


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300))
def test_garbage_is_an_error_in_words(content):
    for file in (content, b"pellucid profile 1\n" + content, b"pellucid profile 1\n" + zlib.compress(content)):
        with pytest.raises(UsageError):
            read(file)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, len(WHOLE) - 1), st.integers(1, 255))
def test_one_changed_byte_is_never_a_wrong_profile(at, flip):
    damaged = WHOLE[:at] + bytes((WHOLE[at] ^ flip,)) + WHOLE[at + 1 :]
    try:
        found = read(damaged)
    except UsageError:
        return
    assert found == ordinary(), "the checksum of zlib covers all but its own header"


VALUES = st.recursive(
    st.none() | st.integers(-3, 9) | st.floats() | st.text(max_size=3), lambda of: st.lists(of, max_size=3)
)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(Profile.__struct_fields__), VALUES)
def test_a_field_of_another_shape_is_an_error_or_a_profile_that_can_be_exported(field, value):
    document = msgspec.msgpack.decode(msgspec.msgpack.encode(ordinary())) | {field: value}
    try:
        found = read(packed(document))
    except UsageError:
        return
    for name in profiles.FORMATS:
        profiles.encode(found, name)
