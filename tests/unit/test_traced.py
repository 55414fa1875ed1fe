"""What tracers counted becomes a profile: what tracing added is taken out, and what it distorted is marked. And command lines of Python."""

import sys

import msgspec
import pytest

from pellucid.model.errors import UsageError
from pellucid.observe import traced_calls, traced_lines
from pellucid.observe.python_command import PythonCommand, understood
from pellucid.observe.traced_calls import ThreadCalls, ToldCalls, misleads
from pellucid.observe.traced_lines import ToldLines
from pellucid.present.cli import trace_text

COSTS = {"python": (40e-9, 60e-9, 30e-9), "builtin": (30e-9, 50e-9, 20e-9)}


def told(**changed):
    """main calls many (which calls small a million times) and few: each takes 50 ms, and tracing adds 100 ms to the first."""
    entries = [
        ("app.py", 1, "<module>", 1, 0.0, 0.2, [(1, 1, 0.15), (3, 1, 0.05)]),
        ("app.py", 5, "many", 1, 0.02 + 0.06, 0.15, [(2, 1_000_000, 0.07)]),
        ("app.py", 3, "small", 1_000_000, 0.03 + 0.04, 0.07, []),
        ("app.py", 9, "few", 1, 0.05, 0.05, []),
    ]
    document = {
        "version": "3.13.0",
        "engine": "cProfile",
        "duration": 0.2,
        "costs": {"direct": COSTS},
        "stretch": 1.0,
        "dispatched": False,
        "before": [],
        "threads": [ThreadCalls(7, "MainThread", True, entries)],
    }
    return ToldCalls(**{**document, **changed})


def profile(told_):
    return traced_calls.profile_of(told_, "python app.py", 1.8e9, 400)


def functions(found):
    return {one.qualname: one for one in found.trace.functions}


def text(found):
    return [line.text for line in trace_text.lines(found, found.trace)]


def test_what_tracing_added_is_taken_out_of_callee_and_caller():
    found = functions(profile(told()))
    assert found["few"].true_ns == pytest.approx(50e6)
    assert found["small"].true_ns == pytest.approx(30e6)
    assert found["many"].true_ns == pytest.approx(20e6, rel=1e-4)
    assert (found["many"].made, found["small"].calls) == (1_000_000, 1_000_000)
    assert found["few"].share == pytest.approx(0.25)
    assert found["few"].true_share == pytest.approx(0.5)
    assert profile(told()).trace.inflation == pytest.approx(2.0)


def test_two_implementations_that_take_equally_long_are_said_to_be_so():
    lines = text(profile(told()))
    assert (
        lines[1]
        == "cost: traced, it took 2.00 times as long: 1,000,003 calls, by measurement 100 ns each (80 ns of a function in C)"
    )
    assert " 50.0 %     25.0 % !            1    50.00 ms  few (app.py:9)" in lines
    assert "few (app.py:9) looks smaller than it is: 25.0 % traced, 50.0 % without" in lines
    assert "many (app.py:5) looks larger than it is: 40.0 % traced, 20.0 % without; it makes 1,000,000 calls" in lines
    assert (
        "small (app.py:3) looks larger than it is: 35.0 % traced, 30.0 % without; it is called 1,000,000 times" in lines
    )


def test_a_tracer_that_cost_little_marks_nothing():
    cheap = dict.fromkeys(COSTS, (1e-12, 1e-12, 1e-12))
    found = profile(told(costs={"direct": cheap}))
    assert not [one for one in found.trace.functions if one.distorted]
    assert not [line for line in text(found) if "looks" in line or line.startswith("!")]


def test_a_busy_machine_makes_it_a_least():
    found = profile(told(stretch=3.0))
    assert "traced, it took at least 2.00 times as long" in text(found)[1]
    assert "other work on this machine made the program take 3.0 times as long" in [gap.why for gap in found.gaps]


def test_calls_before_the_second_thread_cost_what_they_cost_then():
    dear = {kind: (10 * one, 10 * other, alone) for kind, (one, other, alone) in COSTS.items()}
    early = told(
        costs={"direct": COSTS, "dispatched": dear}, dispatched=True, before=[("app.py", 3, "small", 1_000_000)]
    )
    assert functions(profile(early))["small"].true_ns == pytest.approx(30e6)
    late = msgspec.structs.replace(early, before=[])
    assert functions(profile(late))["small"].true_ns == pytest.approx(10e6), "no call takes less than an empty one"


def test_stacks_are_made_of_pairs_and_recursion_ends():
    entries = [
        ("a.py", 1, "main", 1, 0.0, 1.0, [(1, 1, 0.25), (2, 1, 0.75)]),
        ("a.py", 2, "one", 1, 0.0, 0.25, [(3, 1, 0.25)]),
        ("a.py", 3, "two", 1, 0.0, 0.75, [(3, 3, 0.75)]),
        ("a.py", 4, "shared", 4, 1.0, 1.0, [(3, 9, 0.5)]),
    ]
    free = dict.fromkeys(COSTS, (0.0, 0.0, 0.0))
    found = profile(told(costs={"direct": free}, threads=[ThreadCalls(7, "MainThread", True, entries)]))
    weights = {}
    for run in found.tracks[0].runs:
        names = tuple(frame.qualname for frame in reversed(found.frames_of(run.stack)))
        weights[names] = weights.get(names, 0) + run.weight_ns
    assert weights == {
        ("main", "one", "shared"): pytest.approx(0.25e9),
        ("main", "two", "shared"): pytest.approx(0.75e9),
    }
    assert sum(run.weight_ns for run in found.tracks[0].runs) == pytest.approx(1e9)


def test_functions_that_only_call_each_other_are_not_lost():
    entries = [
        ("a.py", 1, "ping", 9, 0.5, 1.0, [(1, 9, 0.9)]),
        ("a.py", 2, "pong", 9, 0.5, 1.0, [(0, 9, 0.9)]),
    ]
    free = dict.fromkeys(COSTS, (0.0, 0.0, 0.0))
    found = profile(told(costs={"direct": free}, threads=[ThreadCalls(7, "MainThread", True, entries)]))
    assert sum(run.weight_ns for run in found.tracks[0].runs) > 0.9e9


@pytest.mark.parametrize(
    ("share", "true", "said"), [(0.5, 0.46, True), (0.5, 0.48, False), (0.02, 0.012, True), (0.009, 0.001, False)]
)
def test_what_misleads(share, true, said):
    assert misleads(share, true) is said
    assert misleads(true, share) is said


def test_lines_lose_what_tracing_added_and_say_which_share_it_changed():
    timings = [(2, 1000, 200e-6), (3, 1, 100e-6)]
    told_ = ToldLines(
        "3.13.0", "line_profiler", 0.1, (100e-9, 150e-9, 10e-9), 1.0, ["f"], ["f"], [("/none/a.py", 1, "f", timings)]
    )
    found = traced_lines.profile_of(told_, "python a.py", 1.8e9, 400)
    often, once = found.trace.lines
    assert often.true_ns == pytest.approx(100_000)
    assert once.true_share == pytest.approx(0.5, abs=0.01)
    assert often.distorted
    assert found.trace.inflation == pytest.approx(1 + 1001 * 150e-9 / 199.9e-6, abs=0.01)
    assert [run.weight_ns for run in found.tracks[0].runs] == [100_000, 99_900]


PY = sys.executable


@pytest.mark.parametrize(
    ("words", "options", "form", "name", "arguments"),
    [
        (["a.py"], (), "script", "a.py", ()),
        (["a.py", "-m", "x"], (), "script", "a.py", ("-m", "x")),
        (["-m", "http.server", "-p"], (), "module", "http.server", ("-p",)),
        (["-mhttp.server"], (), "module", "http.server", ()),
        (["-Bum", "x", "y"], ("-Bu",), "module", "x", ("y",)),
        (["-c", "pass", "-c"], (), "code", "pass", ("-c",)),
        (
            ["-W", "ignore", "-Xdev", "-X", "utf8", "a.py"],
            ("-W", "ignore", "-Xdev", "-X", "utf8"),
            "script",
            "a.py",
            (),
        ),
        (["-OOWerror", "a.py"], ("-OOWerror",), "script", "a.py", ()),
        (["--check-hash-based-pycs", "always", "a.py"], ("--check-hash-based-pycs", "always"), "script", "a.py", ()),
    ],
)
def test_a_command_line_of_python_is_taken_apart(words, options, form, name, arguments):
    assert understood((PY, *words)) == PythonCommand(PY, options, form, name, arguments)


@pytest.mark.parametrize("words", [[], ["-"], ["-i"], ["--version"], ["-hB"], ["-m"], ["-W"]])
def test_a_command_line_without_a_program_is_refused(words):
    with pytest.raises(UsageError):
        understood((PY, *words))


def test_a_profile_can_not_make_us_print_a_file_that_is_no_source(tmp_path):
    (tmp_path / "a.py").write_text("x = 0\nx += 1\x1b[31m\n")
    (tmp_path / "secret").write_text("first\nhunter2\n")
    for name, shown in (("a.py", "x += 1\\x1b[31m"), ("secret", ""), ("none.py", "")):
        told_ = ToldLines(
            "3",
            "line_profiler",
            0.1,
            (0.0, 0.0, 0.0),
            1.0,
            ["f"],
            ["f"],
            [(str(tmp_path / name), 1, "f", [(2, 1, 1e-3)])],
        )
        lines = text(traced_lines.profile_of(told_, "python a.py", 1.8e9, 400))
        (row,) = [line for line in lines if line.startswith("      2 ")]
        assert row.endswith(shown)
        assert "hunter2" not in row
        assert "\x1b" not in row
