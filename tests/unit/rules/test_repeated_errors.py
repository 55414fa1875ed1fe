"""Failed calls that repeat: told with error, path and line; one failure, and what is meant to fail, are not."""

from msgspec.structs import replace

from pellucid.diagnose.rules.repeated_errors import fails_again_and_again
from pellucid.model import Calls, OverTime, RepeatedError
from tests.unit.rules.build import frame, library, snapshot, thread


def failed(error="ENOENT", count=90, path="/srv/a.csv", name="openat", **more):
    where = frame("load")
    return RepeatedError(name, error, path, "", f'{name}("{path}")', count, 41, "python", where, (where,), **more)


def judged(*errors):
    seen = replace(snapshot(thread()), over_time=OverTime(2.0, Calls(2.0, errors, (), 12, 0, "bpf")))
    return list(fails_again_and_again(seen))


def test_a_missing_file_is_a_notice_and_a_refused_one_a_warning():
    refused, missing = judged(failed(), failed("EACCES", 2, "/srv/secret"))
    assert (refused.severity, missing.severity) == ("warning", "notice")
    assert "called openat on /srv/secret and got EACCES (permission denied) 2 times in 2.0 s" in refused.sentence
    assert "/srv/a.csv" in missing.sentence
    assert "in load" in missing.title
    assert missing.confidence == "certain"


def test_paths_of_one_line_are_one_finding():
    (found,) = judged(*(failed(path=f"/srv/{n}.csv", count=1) for n in range(5)))
    assert "/srv/0.csv and 4 more and got ENOENT (no such file or directory) 5 times" in found.sentence


def test_a_path_that_was_read_after_the_call_is_only_likely():
    (found,) = judged(failed(certain=False))
    assert found.confidence == "likely"


def test_who_has_an_address_that_is_in_use():
    (found,) = judged(failed("EADDRINUSE", 4, None, "bind", holders=("pid 42 (python server.py)",)))
    assert found.sentence.endswith("pid 42 (python server.py) has it.")


def test_most_are_counted_not_told():
    found = judged(*(failed(error) for error in ("EIO", "EACCES", "EPERM", "ENOSPC", "ENOENT")))
    assert [one.severity for one in found] == ["warning"] * 3
    assert "2 more kinds" in found[-1].sentence


def test_what_a_library_looks_for_is_its_own_business():
    searched = library("isdir", "genericpath.py")
    assert not judged(replace(failed(), line=searched, stack=(searched,)))
    assert not judged(replace(failed(), line=None, stack=()))
    (refused,) = judged(replace(failed("EACCES"), line=None, stack=()))
    assert refused.severity == "warning"


def test_two_calls_for_one_file_are_one_finding():
    (found,) = judged(failed(count=7), failed(name="newfstatat", count=7))
    assert "7 times" in found.sentence


def test_silent_about_single_failures_and_interruptions():
    assert not judged(failed(count=2), failed("EINTR", 50), failed("EACCES", 1, "/srv/secret"))
    assert not judged()
    assert not list(fails_again_and_again(snapshot(thread())))
