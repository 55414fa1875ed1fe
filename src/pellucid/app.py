"""The wiring: the only place that knows all rooms. `COMMANDS` is the table of the command line; it names modules and imports none."""

import gc
import os
import sys

_CLI = "pellucid.present.cli"
_SERVE = "pellucid.serve.cli"
_AGENT = "pellucid.agent"

COMMANDS: dict[str, tuple[str, str]] = {
    "why": (f"{_CLI}.why:command", "The verdict: what is wrong with a process, since when, where, and what to do."),
    "ps": (f"{_CLI}.ps:command", "Processes, with their state in words."),
    "info": (f"{_CLI}.info:command", "Who a process is: command, user, limits, cgroup, namespaces, parents, children."),
    "env": (f"{_CLI}.env:command", "Its environment, at start and now; secrets are hidden."),
    "stacks": (f"{_CLI}.stacks:command", "The stacks of all threads, each with what it waits for."),
    "waits": (f"{_CLI}.waits:command", "Who waits for whom and for what, who holds it, since when; deadlocks."),
    "files": (f"{_CLI}.files:command", "Its open descriptors, and what each is; or who holds a file or port."),
    "recover": (f"{_CLI}.recover:command", "Deleted files that it still holds, and a copy of one."),
    "output": (f"{_CLI}.output:command", "What it and its children print on stdout and stderr."),
    "sockets": (f"{_CLI}.sockets:command", "Its sockets, with queues and the process at the other end."),
    "syscalls": (
        f"{_CLI}.syscalls:command",
        "What it asks of the kernel: failed, slow and counted calls, with their Python lines.",
    ),
    "profile": (f"{_CLI}.profile:command", "Where the time goes: sampled from outside, without stopping it."),
    "memory": (f"{_CLI}.memory:command", "Which kind of memory trouble it is, and where the bytes are."),
    "heap": (f"{_CLI}.heap:command", "Its objects by type, who holds them, and who holds ever more."),
    "gc": (f"{_CLI}.gc:command", "What a garbage collector does: generations, collections, their trend; or its log."),
    "oom": (
        f"{_CLI}.oom:command",
        "How a process died of memory, or how near it is: a message, a log, a pid, a cgroup.",
    ),
    "jvm": (
        f"{_CLI}.jvm:command",
        "Ask a JVM itself: a dump at its first OutOfMemoryError, its commands, flags, properties.",
    ),
    "record": (f"{_CLI}.record:command", "Record processes while they run, to look back at the moment it went wrong."),
    "replay": (f"{_CLI}.replay:command", "Look back: what a recording holds, and other commands on the past."),
    "top": (
        "pellucid.present.tui.command:command",
        "All processes, live, in the terminal; or what each thread of one does.",
    ),
    "web": ("pellucid.present.web.command:command", "All processes on a live page, and what each does."),
    "metrics": (f"{_CLI}.metrics:command", "All Python and JVM processes as numbers for Prometheus."),
    "agent": (f"{_AGENT}.command:command", "Answer the pellucid of other machines; the machines known here."),
    "train": (f"{_SERVE}.train:command", "Train a model and store it as a new version."),
    "models": (f"{_SERVE}.models:command", "The stored models, their versions and metrics."),
    "serve": (f"{_SERVE}.serve:command", "Serve a model over HTTP with supervised workers."),
    "predict": (f"{_SERVE}.predict:command", "Predict records with a stored or a served model."),
    "incidents": (f"{_SERVE}.incidents:command", "What happened to the workers of the model server, and why."),
    "check": (f"{_CLI}.check:command", "What can be seen on this machine, and why not."),
    "completion": (f"{_CLI}.completion:command", "What bash, zsh or fish need to complete pellucid's words."),
    "schema": (f"{_CLI}.schema:command", "The JSON schema of what a command prints with --json."),
}

ELSEWHERE = frozenset(
    [
        "why",
        "ps",
        "info",
        "env",
        "stacks",
        "waits",
        "files",
        "recover",
        "output",
        "sockets",
        "syscalls",
        "oom",
        "memory",
        "gc",
        "profile",
        "heap",
        "check",
        "incidents",
    ]
)
"""Commands that take `--host NAME`: the agent there runs them (`agent.policy.RULES`)."""
HOST_OF_THEIR_OWN = frozenset(["top", "web", "serve"])
"""Their --host means something else: machines beside this one, the address to listen on."""


def elsewhere(words: list[str]) -> int | None:
    """The exit status of a command line with `--host NAME`, which an agent has run; None for one that is for this machine."""
    if not words or words[0] in HOST_OF_THEIR_OWN or words[0] not in COMMANDS:
        return None
    ours = words[: words.index("--")] if "--" in words else words
    if not any(word == "--host" or word.startswith("--host=") for word in ours):
        return None
    from pellucid.agent.words import only_here, without_host

    if words[0] not in ELSEWHERE:
        raise only_here(words[0])
    name, others = without_host(words)
    from pellucid.agent.client import run as ask

    return ask(name, others)


def main() -> None:
    """The entry point `pellucid`.

    Most of what a look takes is Python's start. Two things that only a program that goes on needs are left out of it: the search for
    cycles among freshly imported modules (until the command is there: `present/cli`), and the taking apart of the interpreter at
    the end. Together a fifth of `pellucid stacks` (CPython 3.11, 50 threads). The model server ends like any program: its libraries tidy up.
    """
    gc.disable()
    from pellucid.present.cli import run

    status = run(COMMANDS, elsewhere, ELSEWHERE)
    if "pellucid.serve" in sys.modules:
        sys.exit(status)
    os._exit(status)  # what was said has been flushed by `run`, where a failure still has an answer
