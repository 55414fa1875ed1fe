"""Descriptors that become more while they are watched; and those of a start, of new clients, or that are closed again."""

from msgspec.structs import replace

from pellucid.diagnose.rules.rising_descriptors import descriptors_become_more
from pellucid.model import Calls, Descriptors, FileGroup, Opener, OverTime
from tests.unit.rules.build import frame, snapshot, thread

CSV = FileGroup("file /srv/a.csv", "file", 24, examples=("/srv/a.csv",), fds=(4, 5, 6))
CLIENTS = FileGroup("tcp → 10.0.0.7:#, ESTABLISHED", "socket", 24, examples=("socket:[1]", "socket:[2]"), fds=(4, 5, 6))
OPENS = Opener("openat", (frame("load"),), (4, 5, 6, 7))
ACCEPTS = Opener("accept4", (frame("serve"),), (4, 5, 6, 7))


def judged(*counts, group=CSV, openers=(OPENS,), limit=100_000, seconds=2.0):
    held = Descriptors(seconds, counts, counts[-1] - counts[0], limit, (group,))
    calls = None if openers is None else Calls(seconds, (), openers, 0, 0, "bpf")
    seen = replace(snapshot(thread()), over_time=OverTime(seconds, calls, held))
    return list(descriptors_become_more(seen))


def test_one_file_that_is_opened_again_and_again():
    (found,) = judged(100, 106, 112, 118, 124)
    assert (found.severity, found.confidence) == ("warning", "likely")
    assert "24 more descriptors than 2.0 s before, opened at" in found.title
    assert "in load" in found.title
    assert "limit" not in found.sentence, "that is hours away"


def test_near_the_limit_the_time_that_is_left():
    (found,) = judged(100, 106, 112, 118, 124, limit=1024)
    assert "the limit of 1024 is reached in 1 min 15 s" in found.sentence
    (clients,) = judged(100, 106, 112, 118, 124, limit=1024, group=CLIENTS, openers=(ACCEPTS,))
    assert clients.severity == "warning"


def test_without_the_right_to_trace_there_is_no_line():
    (found,) = judged(100, 112, 124, openers=None)
    assert "opened at" not in found.sentence


def test_from_several_places_there_is_none_either():
    (found,) = judged(100, 112, 124, openers=(replace(OPENS, fds=(4,)), replace(ACCEPTS, fds=(5, 6))))
    assert "opened at" not in found.sentence


def test_different_files_are_possible_at_most():
    several = replace(CSV, what="file /srv/#.csv", examples=("/srv/1.csv", "/srv/2.csv"))
    (found,) = judged(100, 112, 124, group=several)
    assert (found.severity, found.confidence) == ("notice", "possible")


def test_silent_about_bursts_clients_and_what_is_closed_again():
    assert not judged(100, 124, 124, 124, 124), "once"
    assert not judged(100, 100, 100, 124), "at the end"
    assert not judged(100, 102, 104), "few"
    assert not judged(100, 106, 112, 118, 124, group=CLIENTS, openers=(ACCEPTS,))
    assert not judged(100, 150, 90, 104)
    assert not list(descriptors_become_more(snapshot(thread())))


def test_a_call_without_a_stack_beside_those_of_one_line_hides_it_not():
    """In a pid namespace the first call of a process has none, and nowhere that of a thread that has just begun."""
    known, unknown = Opener("openat", (frame("load"),), (5, 6)), Opener("openat", (), (4,))
    (told,) = judged(10, 22, 34, openers=(known, unknown))
    assert "opened at" in told.sentence
