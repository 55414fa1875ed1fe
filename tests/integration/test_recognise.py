"""Which processes run a CPython that can be read, and what is said of those that do not."""

import glob
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from pellucid.model.errors import NoSuchProcess, NotUnderstood
from pellucid.runtimes import cpython
from tests import interpreters
from tests.conftest import TARGETS
from tests.settling import settled

each_python = pytest.mark.parametrize("python", interpreters.each())
SLEEPER = "import time\ndef inside():\n  print('ready', flush=True)\n  time.sleep(3600)\ninside()"


@pytest.fixture
def running():
    """`running(command)` → the pid of a process that has said "ready"; `said=False` for one that says nothing."""
    started = []

    def start(command, *, said=True, **options):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)
        started.append(process)
        if said:
            assert process.stdout.readline().strip() == "ready"
            time.sleep(0.05)  # from the print to the sleep
        return process.pid

    yield start
    for process in started:
        process.kill()
        process.stdout.close()
        process.wait()


def functions(pid):
    with cpython.attach(pid) as runtime:
        (stack,) = runtime.read().stacks
        return [frame.function for frame in stack.frames]


@pytest.mark.parametrize("python", interpreters.each(interpreters.OLDER))
def test_an_older_python_is_named_and_not_read(python, running):
    pid = running([python.path, "-c", SLEEPER])
    with pytest.raises(NotUnderstood) as refused:
        cpython.attach(pid)
    assert f"it runs CPython {python.version} " in refused.value.said
    assert "there are tables for 3.11 to 3.15" in refused.value.said
    assert refused.value.pid == pid


def test_a_program_without_python_is_told_apart(running):
    pid = running(["sleep", "100"], said=False)
    time.sleep(0.1)
    with pytest.raises(NotUnderstood) as refused:
        cpython.attach(pid)
    assert refused.value.said == "no CPython found in its mappings"


def test_a_process_that_is_gone_is_told_apart():
    process = subprocess.Popen(["true"])
    process.wait()
    with pytest.raises(NoSuchProcess):
        cpython.attach(process.pid)


@each_python
def test_a_process_that_ends_while_it_is_attached_is_told_apart(python, target):
    process, _ = target(python, "subinterpreter.py")
    with cpython.attach(process.pid) as runtime:
        assert runtime.read().stacks
        process.kill()
        process.wait()
        with pytest.raises(NoSuchProcess):
            runtime.read()


@each_python
def test_its_name_is_its_version(python, running):
    told = subprocess.run([python.path, "-V"], capture_output=True, text=True, check=True).stdout
    with cpython.attach(running([python.path, "-c", SLEEPER])) as runtime:
        assert runtime.name == told.strip().replace("Python", "CPython")


@each_python
def test_a_subinterpreter_stands_inside_the_thread_that_runs_it(python, target):
    process, _ = target(python, "subinterpreter.py")
    with cpython.attach(process.pid) as runtime:
        stacks = runtime.read().stacks
    assert len(stacks) == 2
    inside = next(stack for stack in stacks if any(frame.function == "within" for frame in stack.frames))
    assert inside.interpreter > 0
    if python.minor >= 13:  # before, the state of a subinterpreter names the thread that made it
        assert inside.name == "outside"
        assert [frame.function for frame in inside.frames[:3]] == ["within", "<module>", "outside"]


@each_python
def test_the_child_of_a_fork_has_its_own_thread_ids(python, target):
    process, _ = target(python, "forking.py", stderr=subprocess.DEVNULL)
    (child,) = (
        int(pid) for pid in Path(f"/proc/{process.pid}/task").glob("*/children") for pid in pid.read_text().split()
    )
    settled(child)
    with cpython.attach(child) as runtime:
        (stack,) = runtime.read().stacks
    assert stack.tid == child
    assert [frame.function for frame in stack.frames[:2]] == ["rest", "fork"]


@each_python
def test_thread_ids_are_ours_when_the_process_is_in_another_pid_namespace(python, running):
    if os.getuid() or not shutil.which("unshare"):
        pytest.skip("making a pid namespace takes root and unshare(1)")
    outer = running(["unshare", "--pid", "--fork", "--kill-child", python.path, "-c", SLEEPER])
    (pid,) = map(int, Path(f"/proc/{outer}/task/{outer}/children").read_text().split())
    with cpython.attach(pid) as runtime:
        (stack,) = runtime.read().stacks
        assert runtime.raw[0].tid == 1
    assert stack.tid == pid


@each_python
def test_a_python_whose_files_are_gone_is_read_from_memory(python, running, tmp_path):
    """As after an upgrade: the program and its library are deleted, and nothing of them is opened."""
    home = Path(python.path).resolve()
    copy = tmp_path / "service"
    shutil.copy(home, copy)
    library = next(iter(glob.glob(f"{home.parent.parent}/lib/libpython{python.version}.so.1.0")), None)
    environment = {**os.environ, "PYTHONHOME": str(home.parent.parent)}
    if library:
        shutil.copy(library, tmp_path)
        environment["LD_LIBRARY_PATH"] = str(tmp_path)
    pid = running([str(copy), "-c", SLEEPER], env=environment)
    for path in list(tmp_path.iterdir()):
        path.unlink()
    assert functions(pid) == ["inside", "<module>"]


def compiled(python, tmp_path, *, static):
    """The program embed.c, linked against the libpython of `python`; skips where that is not to be had."""
    prefix = Path(python.path).parent.parent
    libraries = [*prefix.glob("lib/*-linux-gnu"), prefix / "lib"]
    name = f"libpython{python.version}.a" if static else f"libpython{python.version}.so.1.0"
    library = next((path / name for path in libraries if (path / name).exists()), None)
    if library is None or not shutil.which("gcc"):
        pytest.skip(f"no {name} beside {python.path}, or no gcc here")
    own = [prefix / "lib64/ld-linux-x86-64.so.2", *(library.parent / part for part in ("libc.so.6", "libm.so.6"))]
    own += [library.parent / part for part in ("libz.so.1", "libexpat.so.1")]
    command = [
        "gcc",
        "-w",
        f"-I{prefix}/include/python{python.version}",
        f"-I{prefix}/include",
        str(TARGETS / "embed.c"),
    ]
    command += [str(library), "-Wl,--allow-shlib-undefined", f"-Wl,--disable-new-dtags,-rpath,{library.parent}"]
    if static:
        command += ["-no-pie", "-Wl,--unresolved-symbols=ignore-all"]
    if own[0].exists():  # an interpreter that came with its own C library
        command += [f"-Wl,--dynamic-linker={own[0]}", *map(str, own[1:])]
    program = tmp_path / "teller"
    subprocess.run([*command, "-o", str(program)], check=True, capture_output=True, timeout=60)
    return program, {**os.environ, "PYTHONHOME": str(prefix)}


@each_python
def test_python_inside_of_another_program(python, running, tmp_path):
    program, environment = compiled(python, tmp_path, static=False)
    assert functions(running([str(program)], env=environment)) == ["inside", "<module>"]


@pytest.mark.parametrize("stripped", [False, True])
@pytest.mark.parametrize("python", interpreters.each(("3.14", "3.15")))
def test_python_linked_into_a_program_that_exports_nothing(python, running, tmp_path, stripped):
    """The static symbols lead to it; in a stripped program the section .PyRuntime does."""
    program, environment = compiled(python, tmp_path, static=True)
    if stripped:
        subprocess.run(["strip", str(program)], check=True)
    assert functions(running([str(program)], env=environment)) == ["inside", "<module>"]


def test_the_systems_own_python_is_read(running):
    """A distribution's build: stripped, and not the one that the table was made from."""
    python = "/usr/bin/python3"
    if not os.access(python, os.X_OK):
        pytest.skip("this system has no python3 of its own")
    told = subprocess.run(
        [python, "-c", "import sys; print(sys.version_info[1])"], capture_output=True, text=True, check=True
    )
    if int(told.stdout) not in range(11, 16):
        pytest.skip(f"the system's python3 is 3.{told.stdout.strip()}")
    assert functions(running([python, "-c", SLEEPER])) == ["inside", "<module>"]


@each_python
def test_who_holds_the_gil(python, running):
    """Two threads that spin: in each reading at most one holds it, and both do at times. 3.15 says who wants it, too."""
    spin = "import threading\ndef spin():\n  while 1: pass\nthreading.Thread(target=spin,daemon=True).start()\n"
    pid = running([python.path, "-c", spin + "print('ready', flush=True)\nspin()"])
    held, wanted = [], []
    with cpython.attach(pid) as runtime:
        for _ in range(400):
            stacks = runtime.read().stacks
            held.append([stack.tid for stack in stacks if stack.holds_gil])
            wanted += [stack.wants_gil for stack in stacks]
            time.sleep(0.0005)
    assert all(len(tids) <= 1 for tids in held) or python.minor >= 15  # 3.15 says it in each thread, a moment apart
    assert len({tid for tids in held for tid in tids}) == 2
    assert (True in wanted) if python.minor >= 15 else set(wanted) == {None}


@each_python
def test_an_address_in_the_gil_is_known(python, running):
    pid = running([python.path, "-c", SLEEPER])
    with cpython.attach(pid) as runtime:
        runtime.read()
        gil = runtime.interpreters[0].gil
        assert runtime.in_gil(gil)
        assert not runtime.in_gil(gil - 8)
        assert not runtime.in_gil(0)
