"""`profile --trace` and `--lines`: a program that runs as if alone, under any interpreter, and numbers that say what they cost."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from importlib.util import find_spec

import pytest

from tests import interpreters
from tests.conftest import TARGETS
from tests.interpreters import OLDER

PELLUCID = [sys.executable, "-m", "pellucid"]
PROGRAM = "traced"


def profile(*arguments, **options):
    options = {"cwd": TARGETS, "capture_output": True, "text": True, "timeout": 90, **options}
    return subprocess.run([*PELLUCID, "profile", *map(str, arguments)], check=False, **options)


def traced(*arguments, **options):
    """The document of `--json`, and how it ended; the program's own output is on stderr then."""
    ended = profile("--json", *arguments, **options)
    assert ended.stdout, ended.stderr
    return json.loads(ended.stdout)["profile"], ended


def functions(document):
    return {one["qualname"]: one for one in document["trace"]["functions"]}


FORMS = {
    "script": [f"{PROGRAM}/__main__.py", "one", "--two"],
    "module": ["-m", PROGRAM, "-c", "x"],
    "folder": [PROGRAM, "--json"],
    "options": ["-B", "-X", "utf8", "-Wignore", "-E", f"{PROGRAM}/__main__.py"],
    "isolated": ["-I", f"{PROGRAM}/__main__.py"],
    "code": ["-c", f"import runpy; runpy.run_path('{PROGRAM}/__main__.py', run_name='__main__')", "y"],
}
CASES = [("3.11", form) for form in FORMS] + [("3.15", form) for form in ("script", "module", "isolated")]
CASES += [(version, "script") for version in ("3.8", "3.12", "3.13", "3.14")] + [("3.8", "folder")]


@pytest.mark.parametrize(("version", "form"), CASES)
def test_a_program_finds_what_it_finds_alone(version, form):
    found = [one for one in interpreters.find() if one.version == version]
    if not found:
        pytest.skip(f"CPython {version} is not on this machine: run scripts/fetch_interpreters.py")
    command = [found[0].path, *FORMS[form]]
    given = {"cwd": TARGETS, "capture_output": True, "text": True, "timeout": 60, "input": "typed"}
    alone = subprocess.run(command, check=False, **given)
    document, ended = traced("--trace", "--", *command, input="typed")
    assert ended.returncode == alone.returncode == 3
    assert json.loads(ended.stderr) == json.loads(alone.stdout)
    assert alone.stderr == ""
    names = functions(document)
    assert names["small"]["calls"] == 20_000
    assert names["many"]["made"] >= 20_000
    assert document["trace"]["engine"] == (
        f"{'profiling.tracing' if version == '3.15' else 'cProfile'} of CPython {document['trace']['engine'].split()[-1]}"
    )
    assert version in document["trace"]["engine"]
    assert {track["name"] for track in document["tracks"]} >= {"MainThread", "worker"}
    worker = next(track for track in document["tracks"] if track["name"] == "worker")
    frames = [document["frames"][document["stacks"][run[1]][1]]["qualname"] for run in worker["runs"]]
    assert "many" not in frames, "calls of one thread are told as another's"
    if form == "script":
        main = next(track for track in document["tracks"] if track["name"] == "MainThread")
        first = document["stacks"][max(main["runs"], key=lambda run: run[3])[1]]
        while first[0] != -1:
            first = document["stacks"][first[0]]
        assert document["frames"][first[1]]["qualname"] == "<module>", "the program begins with itself"
    assert names["<built-in method builtins.abs>"]["calls"] == 1_000


@pytest.mark.parametrize("python", interpreters.each(("3.11", "3.13", "3.15")))
def test_many_calls_are_found_to_look_worse_than_they_are(python):
    """Two implementations that take about as long: the one with many calls looks slower under the tracer, and is marked."""
    document, _ = traced("--trace", "--", python.path, f"{PROGRAM}/__main__.py", stdin=subprocess.DEVNULL)
    names = functions(document)
    both = (names["many"], names["small"])
    assert sum(one["share"] for one in both) > sum(one["true_share"] for one in both)
    assert names["few"]["share"] < names["few"]["true_share"]
    assert document["trace"]["inflation"] > 1.02
    assert document["taking"]["slowdown"] == document["trace"]["inflation"]
    assert 10 < document["trace"]["call_ns"] < 5_000


def test_the_screen_says_the_cost_first(tmp_path):
    ended = profile("--trace", "-o", tmp_path / "two.html", "--", sys.executable, PROGRAM, stdin=subprocess.DEVNULL)
    assert ended.returncode == 3, ended.stderr
    _, head, cost, *rest = ended.stdout.splitlines()
    assert "cProfile of CPython" in head
    assert cost.startswith("cost: traced, it took ")
    assert "ns each" in cost
    assert any(line.endswith("few (__main__.py:24)") for line in rest)
    assert b"Time in calls, each of which was traced" in (tmp_path / "two.html").read_bytes()


def test_a_trace_is_kept_shown_and_written_in_every_format(tmp_path):
    kept = tmp_path / "kept.pellucid"
    first = profile("--trace", "-o", kept, "--", sys.executable, "-c", "print(sum(map(abs, range(1000))))")
    assert "499500" in first.stdout
    shown = profile("show", kept)
    assert shown.stdout.splitlines()[0] == first.stdout.splitlines()[1]
    for suffix in (".html", ".collapsed", ".speedscope.json", ".pb.gz", ".gecko.json", ".trace.json", ".json"):
        assert profile("show", kept, "-o", tmp_path / f"x{suffix}").returncode == 0, suffix


@pytest.mark.skipif(
    find_spec("line_profiler") is None, reason="line_profiler is missing: pip install 'pellucid[trace]'"
)
def test_lines_are_timed_with_their_source(tmp_path):
    (tmp_path / "helped.py").write_text(
        "class Helper:\n    def help(self, n):\n        a = [0] * n\n        return sum(a)\n"
    )
    (tmp_path / "app.py").write_text(
        textwrap.dedent("""\
        import threading
        from helped import Helper
        def outer(n):
            def inner(x):
                return x * n
            total = 0
            for i in range(2000):
                total += inner(i)
            return total
        def other():
            return 1
        thread = threading.Thread(target=outer, args=(1,))
        thread.start()
        thread.join()
        outer(2); other(); Helper().help(10)
        """)
    )
    command = ("--", sys.executable, "app.py")
    document, ended = traced("--lines", "outer", "--lines", "helped:Helper.help", *command, cwd=tmp_path)
    assert ended.returncode == 0
    lines = {(one["qualname"], one["line"]): one for one in document["trace"]["lines"]}
    assert lines["outer", 8]["hits"] == 4000, "of both threads"
    assert lines["Helper.help", 3]["hits"] == 1
    assert not [name for name, _ in lines if name in ("other", "outer.<locals>.inner")]
    assert document["trace"]["line_ns"] > 0
    text = profile("--lines", "outer", *command, cwd=tmp_path).stdout
    assert "total += inner(i)" in text
    assert text.splitlines()[1].startswith("cost: traced, these functions took ")
    missing = profile("--lines", "uoter", *command, cwd=tmp_path)
    assert missing.returncode == 2
    assert "no function of that name" in missing.stderr
    assert "try: --lines outer" in missing.stderr


def test_another_interpreter_without_line_profiler_is_told_how_to_get_it():
    (python, *_) = [one for one in interpreters.find() if one.version in OLDER] or pytest.skip("no older CPython here")
    ended = profile("--lines", "few", "--", python.path, PROGRAM)
    assert ended.returncode == 2
    assert f"try: {python.path} -m pip install line_profiler" in ended.stderr


def test_an_exception_is_printed_without_our_frames_and_ctrl_c_saves(tmp_path):
    (tmp_path / "raises.py").write_text("def f():\n    1 / 0\nf()\n")
    command = [sys.executable, "raises.py"]
    alone = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    ended = profile("--trace", "--", *command, cwd=tmp_path)
    assert (ended.returncode, ended.stderr) == (1, alone.stderr)

    (tmp_path / "waits.py").write_text("import time\nprint('ready', flush=True)\ntime.sleep(60)\n")
    line = [*PELLUCID, "profile", "--trace", "-o", "out.pellucid", "--", sys.executable, "waits.py"]
    with subprocess.Popen(
        line, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as waiting:
        assert waiting.stdout.readline() == "ready\n"
        time.sleep(0.3)
        os.killpg(waiting.pid, signal.SIGINT)
        out, error = waiting.communicate(timeout=30)
    assert waiting.returncode == 130
    assert "KeyboardInterrupt" in error
    assert "runner.py" not in error
    assert "time.sleep" in out
    assert (tmp_path / "out.pellucid").exists()


@pytest.mark.parametrize(
    ("command", "status", "said"),
    [
        (["ls"], 2, "neither a Python interpreter nor a script"),
        (["no-such-command"], 2, "there is no such command"),
        ([sys.executable], 2, "it names no program"),
        ([sys.executable, "-V"], 2, "-V runs no program"),
        (
            [sys.executable, "-c", "import os; os._exit(5)"],
            5,
            "ended with status 5 and left no result, as after os._exit",
        ),
        ([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"], 137, "as after a signal (SIGKILL)"),
        ([sys.executable, "none.py"], 2, "can't open file"),
    ],
)
def test_what_can_not_be_traced_says_why(command, status, said):
    ended = profile("--trace", "--", *command)
    assert ended.returncode == status
    assert said in ended.stderr


def test_a_script_by_the_interpreter_in_its_first_line(tmp_path):
    plain, shell = tmp_path / "plain", tmp_path / "by shell"
    plain.write_text(f"#!{sys.executable} -B\nimport sys\nprint(sys.argv[1:], sys.flags.dont_write_bytecode)\n")
    shell.write_text(
        f"#!/bin/sh\n'''exec' \"{sys.executable}\" \"$0\" \"$@\"\n' '''\nimport sys\nprint(sys.argv[1:])\n"
    )
    for script, printed in ((plain, "['a'] 1"), (shell, "['a']")):
        script.chmod(0o755)
        ended = profile("--trace", "--", script, "a")
        assert ended.returncode == 0, ended.stderr
        assert ended.stdout.splitlines()[0] == printed
