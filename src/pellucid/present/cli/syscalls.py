"""`pellucid syscalls PID` and `pellucid syscalls -- CMD`: what a program asks of the kernel, and which Python line asks it."""

import os
import sys
from typing import TYPE_CHECKING

import click

from pellucid.present.cli import launch as launch_words
from pellucid.present.cli import options, screen

if TYPE_CHECKING:
    from pellucid.model.syscalls import SyscallsReport
    from pellucid.observe.syscalls import Asked

_BACKENDS = ("auto", "bpf", "perf", "seccomp", "ptrace")


@click.command("syscalls", cls=launch_words.WithCommand)
@click.argument("target", metavar="PID", required=False, shell_complete=options.pids)
@options.as_json
@click.option(
    "--summary", is_flag=True, help="Each call: how often, how long, how many failed, and the lines behind it."
)
@click.option(
    "--failed", is_flag=True, help="The calls that failed, equal ones together, with the line that made them."
)
@click.option("--slow", type=click.FloatRange(min=0), metavar="MS", help="The calls that took MS milliseconds or more.")
@click.option("--written", is_flag=True, help="What was created, written, renamed and deleted, with sizes.")
@click.option("--read", is_flag=True, help="What was read, with sizes.")
@click.option("--net", is_flag=True, help="What was connected to, with sizes.")
@click.option(
    "--all",
    "-a",
    "every",
    is_flag=True,
    help="Show everything: the failures that are known to be harmless, and every row.",
)
@click.option(
    "--duration", "-d", "seconds", type=click.FloatRange(min=0.01), metavar="SECONDS", help="Stop after so long."
)
@click.option(
    "--backend",
    type=click.Choice(_BACKENDS),
    default="auto",
    show_default=True,
    help="How to look; auto is the best permitted.",
)
@click.option("--output", "-o", metavar="FILE", help="Write the report to FILE.")
@click.option("--force", is_flag=True, help="Overwrite FILE.")
@click.pass_context
def command(
    ctx: click.Context,
    target: str | None,
    as_json: bool,
    summary: bool,
    failed: bool,
    slow: float | None,
    written: bool,
    read: bool,
    net: bool,
    every: bool,
    seconds: float | None,
    backend: str,
    output: str | None,
    force: bool,
) -> None:
    """Tell which system calls process PID and its children make, or those of the command CMD, with their Python lines.

    Without --summary, --failed, --slow, --written, --read or --net: a short summary and the failures. It goes on until the process
    ends, -d SECONDS, or Ctrl-C, and the report comes at the end. Nothing is stopped, except by --backend ptrace or seccomp.

    With CMD the exit status is that of CMD. With --json the standard output of CMD goes to standard error.
    """
    from pellucid.observe.syscalls import Asked
    from pellucid.present.cli.syscalls_text import Parts

    launch = launch_words.launched(ctx)
    if (launch is None) == (target is None) or launch == ():
        raise click.UsageError("Name one thing to look at: a PID, or -- and a command.", ctx)
    parts = Parts(
        summary=summary, failed=failed, slow=slow is not None, written=written, read=read, net=net, every=every
    )
    asked = Asked(
        seconds=seconds,
        every_line=parts.summary or parts.none,
        slow_ms=slow,
        files=written or read,
        network=net,
        backend=backend,
    )
    file = _opened(output, force=force) if output is not None else None
    report = _look(target, launch, asked, to_stderr=as_json and file is None)
    if as_json:
        from pellucid.export.json import encode

        _write(file, encode(report))
    else:
        from pellucid.present.cli.syscalls_text import lines

        told = list(lines(report, parts))
        if file is None:
            for line in told:
                screen.say(line.text, bold=line.bold, dim=line.dim)
        else:
            _write(file, "".join(f"{line.text}\n" for line in told).encode("utf-8", "surrogateescape"))
    if report.exit_status:
        sys.stdout.flush()
        raise SystemExit(report.exit_status)


def _look(target: str | None, launch: "tuple[str, ...] | None", asked: "Asked", *, to_stderr: bool) -> "SyscallsReport":
    from pellucid.observe.syscalls import attached, launched

    with launch_words.interruptions() as stopped:
        if launch is not None:
            return launched(launch, asked, stopped, stdout=2 if to_stderr else 1)
        assert target is not None
        pid = options.resolve(target)
        if sys.stderr.isatty() and asked.seconds is None:
            click.echo(f"looking at pid {pid}; Ctrl-C ends the look and prints what was seen", err=True)
        return attached(pid, asked, stopped)


def _opened(path: str, *, force: bool) -> int:
    """Opened before the look, so that a name that can't be written to costs no look. Raises UsageError."""
    from pellucid.model.errors import UsageError, os_words

    flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if force else os.O_EXCL)
    try:
        return os.open(path, flags, 0o644)
    except FileExistsError:
        raise UsageError(
            tried=f"write {path}", said="it is there already", remedy=f"-o {path} --force  (overwrites it)"
        ) from None
    except OSError as error:
        raise UsageError(
            tried=f"write {path}", said=os_words(error), remedy="-o FILE, in a directory of yours"
        ) from None


def _write(file: int | None, text: bytes) -> None:
    if file is None:
        sys.stdout.buffer.write(text)
        sys.stdout.buffer.flush()
        return
    with os.fdopen(file, "wb") as whole:
        whole.write(text)
