"""What a command imports before it does anything is most of the time it takes, so the list is kept short by test.

Exact where a stopwatch is not: it asks `-X importtime` which modules were imported. One `from dataclasses import` on this path
costs 12 ms before the first class is made, importlib.metadata 25 ms, asyncio 31 (CPython 3.13, a shared x86-64 core).
"""

import subprocess
import sys

import pytest

from pellucid.app import COMMANDS

LOOKS = [name for name, (module, _) in COMMANDS.items() if module.startswith("pellucid.present.")]
SERVER = [name for name, (module, _) in COMMANDS.items() if module.startswith("pellucid.serve.")]
HEAVY = {
    "asyncio",
    "ctypes",
    "dataclasses",
    "importlib.metadata",
    "logging",
    "numpy",
    "socket",
    "subprocess",
    "tempfile",
}
UNNEEDED = {"ast", "click", "inspect", "tokenize"}
"""What `stacks PID` and `why PID`, understood without click, have no use for."""
TARGET = "import sys; print('ready', flush=True); sys.stdin.read()"


def imports(*arguments):
    """Every module that `python -m pellucid ARGUMENTS` imported, in a fresh interpreter."""
    line = [sys.executable, "-X", "importtime", "-m", "pellucid", *arguments]
    ended = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    told = [line for line in ended.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip() for line in told}


def ours(modules):
    return {name for name in modules if name.partition(".")[0] == "pellucid"}


def rooms(modules):
    return {name.split(".")[1] for name in ours(modules) if "." in name}


@pytest.fixture(scope="module")
def target():
    """It waits for a process of its own: a look follows that wait, and who runs these tests may have sockets, or none."""
    asleep = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], stdout=subprocess.PIPE)
    process = subprocess.Popen([sys.executable, "-c", TARGET], stdin=asleep.stdout, stdout=subprocess.PIPE)
    with asleep, process:
        asleep.stdout.close()
        assert process.stdout.readline() == b"ready\n"
        yield str(process.pid)
        asleep.kill()


def test_version_imports_the_command_line_and_nothing_else_of_ours():
    seen = imports("--version")
    assert ours(seen) == {"pellucid", "pellucid.app", "pellucid.present", "pellucid.present.cli"}
    assert not seen & (HEAVY | {"msgspec", "click"})


def test_the_list_of_commands_imports_no_command():
    seen = imports("--help")
    assert ours(seen) == {
        "pellucid",
        "pellucid.app",
        "pellucid.present",
        "pellucid.present.cli",
        "pellucid.present.cli.help_text",
        "pellucid.present.cli.lazy",
    }
    assert not seen & (HEAVY | {"msgspec"})


@pytest.mark.parametrize("command", LOOKS)
def test_the_help_of_a_command_looks_at_nothing(command):
    seen = imports(command, "--help")
    assert rooms(seen) <= {"app", "present", "model", "inert", "terminal", "__main__"}
    assert not seen & HEAVY


@pytest.mark.parametrize("command", SERVER)
def test_the_help_of_a_command_of_the_model_server_loads_no_model(command):
    seen = imports(command, "--help")
    assert rooms(seen) <= {"app", "present", "model", "inert", "serve", "__main__"}
    assert not seen & (HEAVY | {"pandas", "sklearn", "skops", "starlette", "uvicorn"})


def test_the_help_of_the_agent_loads_no_cryptography():
    seen = imports("agent", "--help")
    assert rooms(seen) <= {"app", "present", "model", "inert", "agent", "__main__"}
    assert not seen & (HEAVY | {"cryptography", "ssl"})


def test_every_command_is_one_of_these():
    assert sorted([*LOOKS, *SERVER, "agent"]) == sorted(COMMANDS)


def test_one_look_at_the_stacks_imports_only_what_it_needs(target):
    seen = imports("stacks", target)
    assert "pellucid.runtimes.cpython" in seen, "the look did not happen"
    assert not rooms(seen) & {"serve", "export"}
    assert not {name for name in seen if name.startswith(("pellucid.diagnose.engine", "pellucid.diagnose.rules"))}
    assert "click" not in seen
    assert not seen & (UNNEEDED | HEAVY - {"ctypes"})  # process_vm_readv is called through ctypes
    assert "pellucid.observe.sockets" not in seen, "no thread of this target waits on a socket"


def test_one_look_at_the_waits_imports_no_command_line_library(target):
    seen = imports("waits", target)
    assert "pellucid.observe.wait_graph" in seen, "the look did not happen"
    assert not rooms(seen) & {"serve", "export"}
    assert not seen & ({"click"} | HEAVY - {"ctypes"})


@pytest.mark.parametrize("command", ["gc", "heap"])
def test_a_jvm_is_read_or_asked_without_a_command_line_library(java, command):
    with java("States") as one:
        seen = imports(command, str(one.pid))
    assert {"gc": "pellucid.runtimes.jvm.perfdata", "heap": "pellucid.runtimes.jvm.attach"}[command] in seen
    assert not rooms(seen) & {"serve", "export"}
    assert not seen & (UNNEEDED | HEAVY - {"ctypes", "socket"})  # a JVM is asked by a unix socket


def test_a_verdict_imports_nothing_of_the_model_server(target):
    seen = imports("why", target)
    assert "pellucid.diagnose.engine" in seen, "the look did not happen"
    assert not rooms(seen) & {"serve", "export"}
    assert not seen & (UNNEEDED | HEAVY - {"ctypes", "socket"})  # sock_diag is a netlink socket


def test_who_has_a_file_open_is_asked_with_little(target):
    seen = imports("files", sys.executable)
    assert "pellucid.kernel.openers" in seen, "the look did not happen"
    assert not rooms(seen) & {"serve", "export", "diagnose", "runtimes"}
    assert not seen & (UNNEEDED | HEAVY)
    assert not {"pellucid.kernel.sockdiag", "pellucid.kernel.polling"} & seen


def test_the_longer_looks_are_imported_only_where_they_are_made(target):
    seen = imports("why", "--quick", target)
    assert "pellucid.diagnose.engine" in seen, "the look did not happen"
    assert not {
        name
        for name in seen
        if name.startswith(("pellucid.observe.watching", "pellucid.observe.syscalls", "pellucid.kernel.bpf"))
    }


def imported(code):
    """Every module that `python -c CODE` imported."""
    line = [sys.executable, "-X", "importtime", "-c", code]
    told = subprocess.run(line, capture_output=True, text=True, timeout=60, check=True).stderr
    return {line.rpartition("|")[2].strip() for line in told.splitlines() if line.startswith("import time:")}


def test_the_processes_beside_the_workers_of_a_server_import_nothing_that_only_the_workers_need():
    code = "import pellucid.serve.supervisor, pellucid.serve.look, pellucid.recording.recorder; pellucid.serve.look.prepare()"
    seen = imported(code)
    assert not {name for name in seen if name.startswith("pellucid.serve.telemetry")}, (
        "it is off unless it is asked for"
    )
    assert "pellucid.diagnose.rules" in seen
    assert not seen & {"asyncio", "dataclasses", "logging", "numpy", "pandas", "sklearn", "starlette", "uvicorn"}


def test_a_program_that_profiles_itself_gets_no_more_than_it_asked_for():
    assert ours(imported("import pellucid")) == {"pellucid"}
    seen = imported("import pellucid; pellucid.Profiler")
    assert rooms(seen) == {"inside", "model"}
    assert not seen & (UNNEEDED - {"ast", "inspect", "tokenize"} | HEAVY)
