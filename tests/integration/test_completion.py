"""Completion as a shell asks for it: by click's variables, in a process of its own."""

import os
import shutil
import subprocess
import sys

import pytest

LIMIT_S = 60
ASKED = {
    "bash": 'eval "$(cat)"; COMP_WORDS=(pellucid sta) COMP_CWORD=1; _pellucid_completion pellucid; echo "${COMPREPLY[@]}"',
    "zsh": 'autoload -Uz compinit; compinit -D -u; eval "$(cat)"; echo $_comps[pellucid]',
    "fish": "source -; complete -C 'pellucid sta'",
}
"""What each shell is asked once it has read what `completion SHELL` prints; zsh completes at a terminal only."""
OFFERED = {
    "bash": "stacks",
    "zsh": "_pellucid_completion",
    "fish": "stacks\tThe stacks of all threads, each with what it waits for.",
}


def asked(words, *, shell="zsh"):
    """What is offered for the last of `words`."""
    environment = {
        **os.environ,
        "_PELLUCID_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": f"pellucid {words}",
        "COMP_CWORD": str(len(words.split(" "))),
    }
    line = [sys.executable, "-c", "import sys; sys.argv = ['pellucid']; from pellucid.app import main; main()"]
    ended = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert not ended.stderr
    return ended.stdout.splitlines()


def with_ours():
    """An environment in which `pellucid` is the one that is tested."""
    return {**os.environ, "PATH": f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"}


def test_commands_are_offered_with_their_line_of_help():
    assert asked("sta")[:3] == ["plain", "stacks", "The stacks of all threads, each with what it waits for."]


def test_options_are_offered():
    assert "--json" in asked("stacks --")
    assert "--version" in asked("--")


def test_the_pids_of_python_processes_are_offered_with_their_command():
    process = subprocess.Popen([sys.executable, "-c", "input()", "a\x1b[31m\nname"], stdin=subprocess.PIPE)
    other = subprocess.Popen(["sleep", "60"])
    try:
        offered = asked(f"why {process.pid}")
        at = offered.index(str(process.pid))
        assert "\\x1b[31m\\x0aname" in offered[at + 1]
        assert str(other.pid) not in asked("why ")
    finally:
        process.communicate()
        process.wait()
        other.kill()
        other.wait()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_understands_what_is_printed(shell):
    line = [sys.executable, "-m", "pellucid", "completion", shell]
    told = subprocess.run(line, capture_output=True, text=True, timeout=LIMIT_S, check=True).stdout
    assert "_PELLUCID_COMPLETE" in told
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell} here to read it")
    subprocess.run([shell, "-n"], input=told, text=True, timeout=LIMIT_S, check=True)
    told = subprocess.run(
        [shell, "-c", ASKED[shell]],
        input=told,
        text=True,
        capture_output=True,
        timeout=LIMIT_S,
        check=True,
        env=with_ours(),
    )
    assert OFFERED[shell] in told.stdout, told.stderr
