"""What was sampled from a real process can be kept, read again and written in every format; also where threads come and go."""

import subprocess
import sys
import textwrap

import pytest

from pellucid.export.profiles import FORMATS

PROGRAM = textwrap.dedent("""
    import threading, time
    def short():
        for _ in range(200): hash("x")
        time.sleep(0.003)
    def long():
        while True:
            sum(range(1000))
            time.sleep(0.0005)
    threading.Thread(target=long, name="long", daemon=True).start()
    print("ready", flush=True)
    while True:
        threading.Thread(target=short, name="short").start()
        time.sleep(0.002)
""")


def profile(*arguments):
    command = [sys.executable, "-m", "pellucid", "profile", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def pid():
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"ready\n"
        yield process.pid
        process.kill()


@pytest.mark.parametrize("mode", ["wall", "cpu", "gil"])
def test_what_was_kept_is_shown_and_written_as_anything(pid, mode, tmp_path):
    kept = tmp_path / "kept.pellucid"
    taken = profile(pid, "-d", 1.5, "-r", 300, "--mode", mode, "-o", kept)
    assert taken.returncode == 0, taken.stderr
    shown = profile("show", kept)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.splitlines() == taken.stdout.splitlines()[: len(shown.stdout.splitlines())]
    for suffix, _ in FORMATS.values() if mode == "wall" else ():
        written = profile("show", kept, "-o", tmp_path / f"again{suffix}")
        assert written.returncode == 0, written.stderr
        assert (tmp_path / f"again{suffix}").stat().st_size > 100


def test_a_difference_of_two_files_is_a_page(pid, tmp_path):
    for name in ("before", "after"):
        assert profile(pid, "-d", 0.5, "-o", tmp_path / f"{name}.pellucid").returncode == 0
    page = tmp_path / "changes.html"
    ended = profile("diff", tmp_path / "before.pellucid", tmp_path / "after.pellucid", "-o", page)
    assert ended.returncode == 0, ended.stderr
    assert f"written to {page} (html)" in ended.stdout
    assert b"Red calls take a larger share" in page.read_bytes()


def test_a_file_that_is_no_profile_is_an_error_in_three_lines(tmp_path):
    (tmp_path / "foreign.pellucid").write_bytes(b"\x89PNG\r\n")
    ended = profile("show", tmp_path / "foreign.pellucid")
    assert ended.returncode == 2
    assert [line.split(":")[0].strip() for line in ended.stderr.splitlines()] == ["pellucid", "why", "try"]


@pytest.mark.parametrize("how", [("-d", 1.5), ("--trace",)])
def test_a_secret_on_the_command_line_is_in_no_file(how):
    code = "import time\nend = time.time() + 0.5\nwhile time.time() < end: sum(range(100))"
    ended = profile(*how, "-F", "json", "--", sys.executable, "-c", code, "--password", "hunter2")
    assert ended.returncode == 0, ended.stderr
    assert "***" in ended.stdout
    assert "hunter2" not in ended.stdout
