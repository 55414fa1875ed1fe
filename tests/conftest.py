"""Targets: small programs that the tests look at. Each is started by a test and ended by its pid when the test is over."""

import contextlib
import functools
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests import jvms

TARGETS = Path(__file__).parent / "targets"

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell without job control starts its background commands so, and everything that the tests start would ignore Ctrl-C too.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser):
    parser.addoption(
        "--slow", action="store_true", help='also the tests that take minutes: make test ARGS="--slow -k ray"'
    )


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--slow"):
        for item in items:
            if item.get_closest_marker("slow"):
                item.add_marker(pytest.mark.skip(reason="*** it takes minutes, and is run by --slow"))


@pytest.fixture
def target():
    """`target(python, "states.py", "lock")` → (process, its first line). "ready" and "child N" lines: see the program."""
    started, children = [], []

    def start(python, program, *arguments, **options):
        process = subprocess.Popen(
            [python.path, str(TARGETS / program), *arguments], stdout=subprocess.PIPE, text=True, **options
        )
        started.append(process)
        line = process.stdout.readline().strip()
        while line.startswith("child"):
            children.append(int(line.split()[1]))
            line = process.stdout.readline().strip()
        return process, line

    yield start
    for pid in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for process in started:
        process.kill()
        process.stdout.close()
        process.wait()


@pytest.fixture
def directory(tmp_path):
    """With a file that only root may read, in a place that everybody may enter."""
    for part in [tmp_path, *tmp_path.parents]:
        if part.owner() == "root" or os.stat(part).st_uid == os.getuid():
            part.chmod(part.stat().st_mode | 0o755)
    (tmp_path / "secret.txt").write_text("x")
    (tmp_path / "secret.txt").chmod(0)
    return tmp_path


@pytest.fixture(scope="session")
def java(tmp_path_factory):
    """`java("States", "deadlock", options=(...))` → a running JVM, ended with the `with` that it is used in."""
    if jvms.JAVA is None or jvms.JAVAC is None:
        pytest.skip("*** no java and javac (Debian: default-jdk-headless)")
    classes = jvms.compiled(tmp_path_factory.mktemp("classes"))
    for part in (classes, *classes.parents):  # for JVMs of other users
        if part.stat().st_uid == os.getuid():
            part.chmod(part.stat().st_mode | 0o755)
    return functools.partial(jvms.Running, classes)
