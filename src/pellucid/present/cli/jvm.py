"""`pellucid jvm arm PID`, `jvm cmd PID COMMAND...`, `jvm flags PID`, `jvm properties PID`: what only the JVM itself can do or tell."""

import re
from typing import TYPE_CHECKING

import click

from pellucid.model.errors import UsageError
from pellucid.present.cli import options, screen

if TYPE_CHECKING:
    from pellucid.observe.jvm_ask import Answer

_RUNS_LONG_S = 600.0
_THROWN = re.compile(r"^OutOfMemoryError (?:java_heap|metaspace|class_metaspace)_errors=\d+", re.MULTILINE)
"""In VM.info (JDK 9 and newer): those that it has thrown already (exceptions.cpp, Exceptions::print_exception_counts_on_error)."""


@click.group("jvm", context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Ask a running JVM itself, without a JDK. Each of these makes a thread of it work and leaves a socket in its /tmp."""


@command.command("cmd", context_settings={"ignore_unknown_options": True})
@options.target
@click.argument("words", nargs=-1, metavar="COMMAND...", type=click.UNPROCESSED)
@click.option(
    "--limit",
    type=click.FloatRange(0.1),
    default=_RUNS_LONG_S,
    show_default=True,
    help="Seconds to wait for the answer.",
)
def cmd(target: str, words: tuple[str, ...], limit: float) -> int:
    """Pass a diagnostic command on, as jcmd does, and print what the JVM answers.

    Without a COMMAND: `help`, the list of those that it knows. Some stop it for long (GC.run, GC.heap_dump) or change it (VM.set_flag).
    """
    answer = _ask(target, "jcmd", " ".join(words) or "help", limit_s=limit)
    for line in answer.text.splitlines():
        screen.say(screen.printable(line.replace("\t", "    ")))
    return 0 if answer.code == 0 and not _failed(answer.text) else 1


@command.command("arm")
@options.target
@click.option("--path", metavar="PATH", help="Where the dump shall be written, in the JVM's own file system.")
@click.option("--off", is_flag=True, help="No dump any more.")
def arm(target: str, path: str | None, off: bool) -> int:
    """Make the JVM write a heap dump at its first OutOfMemoryError, without a restart.

    It sets -XX:+HeapDumpOnOutOfMemoryError in the running JVM: this changes the process that is looked at, and is done only here.
    A JVM that has had such an error already writes none at the next, and that is said.
    """
    if path is not None:
        _set(target, "HeapDumpPath", path)
    _set(target, "HeapDumpOnOutOfMemoryError", "0" if off else "1")
    told = _ask(target, "printflag", "HeapDumpOnOutOfMemoryError").text.strip()
    if off:
        screen.say(screen.printable(f"no dump will be written: {told}"))
        return 0
    where = _ask(target, "printflag", "HeapDumpPath").text.strip().partition("=")[2]
    screen.say(screen.printable(f"armed: {told}"))
    # report_java_out_of_memory (HotSpot's debug.cpp) dumps once in the life of a process, armed or not at that time.
    thrown = _THROWN.findall(_ask(target, "jcmd", "VM.info").text)
    if thrown:
        screen.say(
            f"too late for one: it has thrown {', '.join(thrown)} already, and a JVM writes this dump at its first OutOfMemoryError only; "
            f"now: pellucid heap {target} --save FILE.hprof",
            colour="yellow",
        )
        return 1
    screen.say(
        screen.printable(
            f"the dump will be {where or 'java_pidN.hprof in its working directory'}; then: pellucid heap FILE.hprof"
        )
    )
    return 0


@command.command("flags")
@options.target
@click.argument("name", required=False)
def flags(target: str, name: str | None) -> int:
    """Print its -XX flags that are not at their defaults, or one by NAME."""
    answer = _ask(target, "printflag", name) if name else _ask(target, "jcmd", "VM.flags")
    for line in answer.text.replace(" -XX:", "\n-XX:").splitlines():
        screen.say(screen.printable(line.strip()))
    return 0 if answer.code == 0 else 1


@command.command("properties")
@options.target
@click.option("--include-values", is_flag=True, help="Also what looks like a secret.")
def properties(target: str, include_values: bool) -> int:
    """Print its system properties; values of those that look like secrets are hidden."""
    from pellucid.model.redact import value as shown

    for line in _ask(target, "properties").text.splitlines():
        name, equals, text = line.partition("=")
        if equals and not include_values:
            line = f"{name}={shown(name, text)[0]}"
        screen.say(screen.printable(line))
    return 0


def _set(target: str, name: str, value: str) -> None:
    answer = _ask(target, "setflag", name, value)
    if answer.code:
        raise UsageError(
            tried=f"set the flag {name} of the JVM to {value}",
            said=f"it answered {answer.code}: {answer.text.strip()[:200]}",
            remedy=f"pellucid jvm flags {target} {name}",
        )


def _ask(target: str, name: str, *arguments: str, limit_s: float = 30.0) -> "Answer":
    from pellucid.observe.jvm_ask import ask

    return ask(options.resolve(target), name, *arguments, limit_s=limit_s)


def _failed(text: str) -> bool:
    """A command may answer 0 and yet have failed (DCmd::parse_and_execute prints the exception)."""
    return text.startswith(("java.lang.IllegalArgumentException", "Unknown diagnostic command", "java.lang."))
