"""`pellucid replay FILE`: what a recording holds; `replay FILE why --at 12:03` and others: the same commands on the past."""

import click

from pellucid.present.cli import options

COMMANDS = ("why", "stacks", "waits", "profile", "memory", "gc", "files", "sockets", "syscalls")


@click.command("replay")
@click.argument("path", metavar="FILE", type=click.Path())
@click.argument("name", metavar="[COMMAND]", required=False, type=click.Choice(COMMANDS))
@click.argument("target", metavar="[PID]", required=False)
@options.as_json
@click.option(
    "--at",
    "moment",
    metavar="TIME",
    help="As of 12:03, 12:03:20, 2026-11-26 12:03, or 5m before the end: -5m.  [default: the last moment]",
)
@click.option("--last", metavar="T", help="The while before that moment: 30s, 5m, 2h.  [default: 5m; memory: all]")
@click.option("--evidence", "-e", is_flag=True, help="why, memory: print what each sentence rests on.")
@click.option("--all", "-a", "every", is_flag=True, help="stacks: also the threads that run no Python.")
@click.option(
    "--format",
    "-F",
    "form",
    metavar="F",
    help="profile: html, collapsed, speedscope, pprof, gecko, chrome, json or pellucid; else the suffix of the file says it.",
)
@click.option("--output", "-o", metavar="OUT", help="profile: write it to OUT.")
@click.option("--force", is_flag=True, help="profile: overwrite OUT.")
@click.pass_context
def command(
    ctx: click.Context,
    path: str,
    name: str | None,
    target: str | None,
    as_json: bool,
    moment: str | None,
    last: str | None,
    evidence: bool,
    every: bool,
    form: str | None,
    output: str | None,
    force: bool,
) -> int:
    """Tell what is in the recording FILE, or run COMMAND on the past that it keeps: why, stacks, waits, profile, memory, gc, files, sockets, syscalls.

    Without PID it is the process that was asked for when the recording began. Each prints what it would have printed then, on the screen and
    as JSON; times are those of this machine's time zone.
    """
    for option, given, belongs in (
        ("--evidence", evidence, {"why", "memory"}),
        ("--all", every, {"stacks"}),
        ("--format", form is not None, {"profile"}),
        ("--output", output is not None, {"profile"}),
        ("--force", force, {"profile"}),
        ("--at", moment is not None, set(COMMANDS)),
    ):
        if given and name not in belongs:
            raise click.UsageError(f"{option} belongs to {', '.join(sorted(belongs))}.", ctx)
    from pellucid.present.cli.moment import Moment
    from pellucid.present.cli.replay_text import Replaying

    seconds = None if last is None else options.seconds(last)
    with Replaying(path, Moment(moment, seconds), target, as_json=as_json) as past:
        if name is None:
            return past.contents()
        if name == "profile":
            return past.profile(form, output, force=force)
        if name == "why":
            return past.why(evidence=evidence)
        if name == "stacks":
            return past.stacks(every=every)
        if name == "memory":
            return past.memory(evidence=evidence)
        if name == "gc":
            return past.gc()
        if name == "waits":
            return past.waits()
        if name == "syscalls":
            return past.syscalls()
        return past.files() if name == "files" else past.sockets()
