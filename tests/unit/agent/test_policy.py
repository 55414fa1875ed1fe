"""What may be asked of an agent, and that the table speaks of options that there are."""

import importlib

import click
import pytest

from pellucid.agent.policy import RULES, planned
from pellucid.agent.words import without_host
from pellucid.app import COMMANDS, ELSEWHERE, HOST_OF_THEIR_OWN, elsewhere
from pellucid.model.errors import UsageError


def command(name):
    module, _, attribute = COMMANDS[name][0].partition(":")
    return getattr(importlib.import_module(module), attribute)


COMMAND = {name: command(name) for name in RULES}


def plan(*words, scopes=()):
    return planned(words, frozenset(scopes), COMMAND)


def test_the_commands_with_host_are_those_that_an_agent_runs():
    assert set(RULES) == ELSEWHERE


@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - ELSEWHERE - HOST_OF_THEIR_OWN))
def test_every_other_command_says_why_it_has_no_host(name):
    with pytest.raises(UsageError) as refused:
        elsewhere([name, "x", "--host", "gpu-07"])
    assert refused.value.tried == f"run `pellucid {name}` on another machine"
    assert elsewhere([name, "--", "x", "--host", "gpu-07"]) is None, "of the command that is started"


@pytest.mark.parametrize("name", sorted(HOST_OF_THEIR_OWN))
def test_those_with_a_host_of_their_own_are_run_here(name):
    assert elsewhere([name, "--host", "gpu-07"]) is None
    assert any("--host" in one.opts for one in command(name).params)


@pytest.mark.parametrize("name", RULES)
def test_the_table_speaks_of_options_that_there_are(name):
    there = {one.name for one in COMMAND[name].params if isinstance(one, click.Option)}
    assert set(RULES[name].options) - there <= {"force"}
    assert RULES[name].file in there | {""}
    assert RULES[name].sparing in there | {""}


@pytest.mark.parametrize(
    "words",
    [
        ("why", "12", "--json"),
        ("ps",),
        ("ps", "gunicorn", "--tree"),
        ("waits", "1", "2", "3", "--no-children"),
        ("files", "/var/log/app.log"),
        ("files", "--port", "8000"),
        ("profile", "7", "-d", "2.0"),
        ("memory", "7", "--watch", "3.0"),
        ("heap", "7", "--no-pause"),
        ("check",),
        ("incidents",),
        ("incidents", "show", "2026-11-26-0001", "--json"),
    ],
)
def test_what_looks_is_run_as_it_was_asked(words):
    line = plan(*words).line("/tmp/x")
    assert line[0] == words[0]
    assert sorted(line) == sorted(words)


@pytest.mark.parametrize(
    ("words", "scope"),
    [
        (("heap", "7"), "pause"),
        (("heap", "7", "--live"), "pause"),
        (("memory", "7", "--inside-tracemalloc", "1"), "pause"),
        (("syscalls", "7", "--backend", "ptrace"), "pause"),
        (("output", "7"), "contents"),
        (("recover", "7", "--fd", "3", "-o", "x"), "contents"),
        (("env", "7", "--show-secrets"), "contents"),
        (("heap", "7", "--no-pause", "--include-values"), "contents"),
    ],
)
def test_what_is_not_free_needs_its_scope(words, scope):
    with pytest.raises(UsageError) as refused:
        plan(*words)
    assert f"--allow {scope}" in refused.value.remedy
    plan(*words, scopes=[scope])


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("serve", "loan"),
        ("jvm", "cmd", "7", "VM.flags"),
        ("agent",),
        ("no-such",),
        ("profile", "7", "--", "sh", "-c", "id"),
        ("syscalls", "--", "id"),
        ("profile", "show", "/etc/passwd"),
        ("heap", "/etc/passwd", "--no-pause"),
        ("gc", "/etc/passwd"),
        ("oom", "-"),
        ("why",),
        ("why", "1", "2"),
        ("why", "--help"),
        ("why", "1", "--nonsense"),
        ("profile", "1", "--trace"),
        ("gc", "1", "--html", "/etc/x"),
        ("why", "x" * 5000),
        ("why", "a\0b"),
        ("waits", *map(str, range(200))),
        ("profile", "1", "-d", "soon"),
    ],
)
def test_nothing_else_is_run_whatever_the_agent_may_show(words):
    with pytest.raises(UsageError) as refused:
        plan(*words, scopes=["pause", "contents"])
    assert refused.value.said
    assert refused.value.remedy


def test_a_file_is_written_where_the_agent_says():
    asked = plan("profile", "7", "-o", "../../etc/cron.d/x", "-F", "html")
    assert asked.written == "../../etc/cron.d/x"
    line = asked.line("/tmp/of/the/agent/x")
    assert "../../etc/cron.d/x" not in line
    assert line[line.index("-o") + 1 if "-o" in line else line.index("--output") + 1] == "/tmp/of/the/agent/x"


def test_the_host_among_the_words():
    assert without_host(["why", "1", "--host", "a"]) == ("a", ["why", "1"])
    assert without_host(["why", "--host=a", "1"]) == ("a", ["why", "1"])
    assert without_host(["profile", "--host", "a", "--", "x", "--host", "b"]) == (
        "a",
        ["profile", "--", "x", "--host", "b"],
    )
    for words in (["why", "1", "--host"], ["why", "--host", "a", "--host", "b"]):
        with pytest.raises(UsageError):
            without_host(words)
