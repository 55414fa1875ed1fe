"""`pellucid.Profiler` in a program of its own (tests/targets/profiled.py), which knows better where its time went."""

import json
import os
import subprocess
import sys
import textwrap

import pytest

from tests.conftest import TARGETS


def run(*arguments):
    command = [sys.executable, str(TARGETS / "profiled.py"), *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


@pytest.mark.parametrize(
    ("clock", "interval"), [("real", 0.002), ("thread", 0.002), ("prof", 0.004), ("virtual", 0.004)]
)
def test_shares_are_those_that_the_program_measures_itself(clock, interval):
    for _ in range(12):  # a crowded machine gives it few samples
        told = run("split", clock, interval)
        if told["seen"] == pytest.approx(told["own"], abs=0.03):
            break
    for name, share in told["own"].items():
        assert told["seen"][name] == pytest.approx(share, abs=0.03), name
    assert told["weight_s"] == pytest.approx(told["whole_s"], rel=0.1), "the weights of the samples add up to the time"
    assert told["asked"] >= told["taken"] + told["missed"] > 20
    assert told["mode"] == ("cpu" if clock in ("prof", "virtual") else "wall")
    assert 1.0 < told["slowdown"] < 1.2


@pytest.mark.parametrize("clock", ["real", "thread"])
def test_all_threads_are_sampled_also_while_the_main_thread_waits(clock):
    told = run("threads", clock)
    assert told["tracks"]["computes"]["running"] > 0.2
    assert told["tracks"]["waits"]["waiting"] > 0.35
    assert told["tracks"]["waits"].get("running", 0) < 0.1
    assert "pellucid sampler" not in told["tracks"]
    assert told["ran"]["threads.<locals>.computes"] > 0.8
    assert told["slept"]["threads.<locals>.waits"] > 0.3


def test_cpu_time_is_given_to_the_thread_that_used_it():
    told = run("threads", "prof")
    assert told["ran"]["threads.<locals>.computes"] > 0.8
    assert "waits" not in told["tracks"] or sum(told["tracks"]["waits"].values()) < 0.05


def test_tasks_that_wait_are_sampled_with_their_await_chain():
    told = run("tasks")
    assert told["chain"] == ["sleep", "lookup", "handle"]
    assert told["weight_s"] == pytest.approx(5 * 0.4, rel=0.35)
    assert told["states"] == ["waiting"]


def test_no_system_call_is_the_worse_for_a_thousand_signals_a_second():
    told = run("interrupted")
    assert 0.2 <= told["sleep"] < 1
    assert 0.19 <= told["select"] < 1
    assert (told["recv"], told["read"], told["lock"], told["child"]) == ("sent", "written", True, "done\n")
    assert told["written"] == 20_000_000
    assert told["taken"] > 30


def test_whoever_uses_a_timer_or_signal_keeps_it_and_the_error_says_so():
    told = run("conflicts")
    thread = "pellucid.Profiler(clock='thread')  (it uses no signal)"
    tried = "sample with clock='real'"
    assert told["handler"] == [
        tried,
        "SIGALRM has a handler already: __main__.conflicts.<locals>.on_alarm",
        thread,
    ]
    assert told["kept"]
    assert told["timer"][1] == "the timer of SIGPROF is running already (signal.alarm or signal.setitimer)"
    assert told["timer kept"]
    assert told["another"][1] == "SIGALRM has a handler already: that of another pellucid.Profiler"
    assert told["thread"] == [
        tried,
        "only the main thread may set a signal handler (signal.signal), and this is another one",
        thread,
    ]
    assert told["clock"][2] == "one of real, virtual, prof, thread"
    assert "0.0001 to 60 seconds" in told["interval"][1]
    assert "generator" in told["generator"][1]
    assert told["twice"][1] == "it records already"
    assert told["taken over"] == [["the rest of the time", "another part of the program set a handler for SIGALRM"]]
    assert told["theirs"]


def test_fork_exec_and_exit_harm_nobody():
    told = run("ends")
    assert told == {"child": 7, "goes on": True, "handler": True, "timer": [0.0, 0.0], "exec": 0, "exit": 0}


def test_a_decorator_records_outermost_calls_and_adds_them_up():
    told = run("decorated")
    assert told["result"]
    assert (told["answer"], told["name"], told["doc"]) == ("result", "recursive", "Its docstring.")
    assert told["is_coroutine"]
    assert told["first"] >= 0.2
    assert 0.14 <= told["both"] - told["first"] < 0.4, "what ran between the calls was recorded"
    assert "decorated.<locals>.recursive" in told["functions"]
    assert "decorated.<locals>.coroutine" in told["functions"]
    assert not [name for name in told["functions"] if "_recorder" in name or "_tick" in name]


def test_stacks_that_take_long_to_walk_are_sampled_less_often():
    told = run("deep")
    assert told["share"] < 0.25, "a tenth is its budget; without one it is all that the GIL leaves"
    assert told["taken"] > 0
    assert "the outermost callers" in told["gaps"]


def test_a_profile_is_saved_in_any_format_and_read_again(tmp_path):
    code = f"""
    import os, pellucid
    from pellucid.model.errors import UsageError
    os.chdir({str(tmp_path)!r})
    with pellucid.Profiler() as profiler:
        sum(range(3_000_000))
    for name in ("a.html", "a.pellucid", "a.collapsed"):
        profiler.save(name)
    assert pellucid.load("a.pellucid") == profiler.profile
    profiler.print()
    for act in (lambda: profiler.save("a.html"), lambda: profiler.save("a.docx"), lambda: profiler.save("none/a.html"),
                lambda: pellucid.load("a.html"), lambda: pellucid.load("none"), lambda: profiler.save("/dev/full", force=False)):
        try:
            act()
        except UsageError as error:
            print(error.said)
    profiler.save("a.html", force=True)
    print(sorted(os.listdir()))
    """
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False, umask=0o027
    )
    assert ended.stderr == ""
    shown, _, said = ended.stdout.partition("it is there already")
    assert "samples: " in shown
    assert "<module> (<string>:" in shown
    assert ["it is there already", *said.splitlines()[1:5]] == [
        "it is there already",
        "its suffix names no format",
        "ENOENT, No such file or directory",
        "it is no profile that pellucid has saved, or in a format that can't be read back",
        "ENOENT, No such file or directory",
    ]
    assert ended.stdout.splitlines()[-1] == "['a.collapsed', 'a.html', 'a.pellucid']", "a passing file was left"
    assert (tmp_path / "a.html").stat().st_mode & 0o777 == 0o640


def test_the_fixture_of_pytest_records_its_test(tmp_path):
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["pellucid.inside.fixture"]\n')
    (tmp_path / "test_slow.py").write_text(
        textwrap.dedent("""
        import time, pytest
        def busy():
            end = time.perf_counter() + 0.2
            while time.perf_counter() < end: pass
        @pytest.mark.parametrize("x", ["a/b"])
        def test_passes(profiler, x): busy()
        @pytest.mark.profiler(0.002, clock="prof")
        def test_fails(profiler):
            busy()
            assert profiler.clock == "real"
        def test_without(): pass
        """)
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--profile-to", str(tmp_path / "out")]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env=os.environ)
    assert "1 failed, 2 passed" in ended.stdout
    assert "profile" in ended.stdout
    assert "busy (" in ended.stdout
    names = sorted(one.name for one in (tmp_path / "out").iterdir())
    assert names == ["test_slow.py_test_fails.html", "test_slow.py_test_passes_a_b.html"]
