"""Failed calls carry the Python line that made them, under every interpreter and by every way of looking."""

import pytest

from tests import interpreters
from tests.conftest import TARGETS
from tests.syscalls import attach, each_way, failed, launch, lines, needs_bpf

PROGRAM = TARGETS / "silent_errors.py"
each_python = pytest.mark.parametrize("python", interpreters.each())


def at(text):
    """The number of the line of the target that is exactly `text`."""
    (number,) = [number for number, line in enumerate(PROGRAM.read_text().splitlines(), 1) if line == text]
    return number


MISSING = at('        open(os.path.join(directory, "absent.csv"))')
UNREADABLE = at('        open(os.path.join(directory, "secret.txt"))')


@each_python
@each_way
def test_both_swallowed_errors_have_their_lines(directory, python, way):
    report = launch(python.path, PROGRAM, directory, backend=way)
    (missing,), (unreadable,) = failed(report, "absent.csv"), failed(report, "secret.txt")
    assert (missing.error, unreadable.error) == ("ENOENT", "EACCES")
    assert missing.path == str(directory / "absent.csv")
    assert lines(missing) == [
        f"missing:{MISSING}",
        f"look:{at('    missing(directory)')}",
        f"<module>:{at('look(directory)')}",
    ]
    assert lines(unreadable)[0] == f"unreadable:{UNREADABLE}"
    assert [frame.file for frame in missing.stack] == [str(PROGRAM)] * 3
    assert missing.line == missing.stack[0]
    assert (missing.count, missing.noise, report.lost) == (1, "", 0)
    assert report.backend == way
    assert report.exit_status == 0


@each_python
@needs_bpf
def test_of_threads_and_of_forked_children_too(directory, python):
    report = launch(python.path, PROGRAM, directory, "thread", "fork")
    found = {tuple(lines(event)[:1]): event for event in failed(report, "absent.csv")}
    (event,) = found.values()
    assert event.count == 3
    assert event.processes == 2
    assert len(report.processes) == 2


@each_python
@needs_bpf
def test_a_running_process_and_it_goes_on(directory, target, python):
    process, said = target(python, "silent_errors.py", str(directory), "wait")
    assert said == "ready"
    report = attach(process.pid, seconds=0.5)
    (missing,) = [event for event in failed(report, "absent.csv") if event.line]
    assert lines(missing)[0] == f"missing:{MISSING}"
    assert missing.count > 5
    assert process.poll() is None
    (opened,) = [call for call in report.summary if call.name == "openat"]
    assert {share.frame.line for share in opened.lines} == {MISSING, UNREADABLE}
    assert opened.calls == opened.errors == opened.lined_calls


def test_a_running_process_by_ptrace_is_let_go(directory, target):
    python = interpreters.get("3.11")
    process, _ = target(python, "silent_errors.py", str(directory), "wait")
    report = attach(process.pid, seconds=0.5, backend="ptrace")
    (missing,) = failed(report, "absent.csv")
    assert lines(missing)[0] == f"missing:{MISSING}"
    assert report.stops > 10
    with open(f"/proc/{process.pid}/status") as status:
        assert "TracerPid:\t0" in status.read()
    assert process.poll() is None


@needs_bpf
def test_a_version_without_a_table_is_told_not_guessed(directory):
    python = next((each for each in interpreters.find() if each.version in interpreters.OLDER), None)
    if python is None:
        pytest.skip("no CPython older than 3.11 on this machine")
    report = launch(python.path, PROGRAM, directory)
    (missing,) = failed(report, "absent.csv")
    assert missing.stack == ()
    assert any("there is no table for it" in gap.why for gap in report.gaps)


@each_python
@needs_bpf
def test_code_at_the_address_of_freed_code_is_another(tmp_path, python):
    """Each of these modules is freed before the next is made, which is given its place, and fails at the same instruction.

    In 3.11 a code object has no version: where its names are given the same places too, it can't be told from the one before it.
    """
    program = tmp_path / "again.py"
    program.write_text(
        "import os\n"
        "def look(depth):\n"
        "    if depth:\n"
        "        return look(depth - 1)\n"
        "    for number in range(40):\n"
        f"        exec(compile('os.access(\"/nowhere/at/all\", 0)', f'{tmp_path}/{{number}}.py', 'exec'))\n"
        "look(12)\n"
    )
    found = failed(launch(python.path, program), "/nowhere/at/all")
    assert sum(event.count for event in found) == 40
    if python.version != "3.11":
        assert {event.line.file for event in found} == {f"{tmp_path}/{n}.py" for n in range(40)}
    assert {tuple(lines(event)) for event in found} == {("<module>:1", "look:6", *["look:4"] * 12, "<module>:7")}
