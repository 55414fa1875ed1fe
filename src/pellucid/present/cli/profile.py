"""`pellucid profile PID`, `profile -- CMD`, `profile show FILE` and `profile diff A B`: where the time goes."""

import sys
from typing import TYPE_CHECKING

import click

from pellucid.present.cli import launch, options, screen

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pellucid.model import Process
    from pellucid.model.profile import Profile
    from pellucid.observe.sampler import Asked, Progress
    from pellucid.present.cli.profile_files import Wanted
    from pellucid.present.cli.profile_text import Line
    from pellucid.saving import Saved

_MODES = ("wall", "cpu", "gil")


class ProfileCommand(launch.WithCommand):
    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        return ["[OPTIONS]", "PID | -- CMD [ARGUMENTS] | show FILE | diff BEFORE AFTER"]


@click.command("profile", cls=ProfileCommand)
@click.argument("words", metavar="PID", nargs=-1, shell_complete=options.pids)
@options.as_json
@click.option(
    "--duration", "-d", "seconds", type=click.FloatRange(min=0.01), metavar="SECONDS", help="Stop after so long."
)
@click.option(
    "--rate",
    "-r",
    type=click.FloatRange(1, 10_000),
    default=100.0,
    show_default=True,
    metavar="HZ",
    help="Samples a second.",
)
@click.option(
    "--mode",
    type=click.Choice(_MODES),
    default="wall",
    show_default=True,
    help="What a sample counts: time that passed, CPU that was used, or time with the GIL.",
)
@click.option(
    "--children/--no-children", default=True, help="Also its children, and those that they start.  [default: yes]"
)
@click.option("--native", is_flag=True, help="Also the innermost C function: its name and shared object.")
@click.option("--trace", is_flag=True, help="Trace every call of CMD instead, from inside; says what that costs.")
@click.option(
    "--lines",
    "functions",
    multiple=True,
    metavar="FUNC",
    help="Time each line of FUNC in CMD: a name, CLASS.METHOD or MODULE:NAME, with * for anything. May be repeated.",
)
@click.option(
    "--format",
    "-F",
    "form",
    metavar="F",
    help="html, collapsed, speedscope, pprof, gecko, chrome, json or pellucid; else the suffix of FILE says it.",
)
@click.option("--output", "-o", metavar="FILE", help="Write the profile to FILE.")
@click.option("--force", is_flag=True, help="Overwrite FILE.")
@click.option(
    "--push", metavar="URL", help="Send a profile to this Pyroscope every 10 s instead (--every), until Ctrl-C."
)
@click.option(
    "--every", type=click.FloatRange(1, 3600), default=10.0, metavar="SECONDS", help="Between two that are sent."
)
@click.option("--name", metavar="APPLICATION", help="What the store calls them.  [default: the name of the process]")
@click.pass_context
def command(
    ctx: click.Context,
    words: tuple[str, ...],
    as_json: bool,
    seconds: float | None,
    rate: float,
    mode: str,
    children: bool,
    native: bool,
    trace: bool,
    functions: tuple[str, ...],
    form: str | None,
    output: str | None,
    force: bool,
    push: str | None,
    every: float,
    name: str | None,
) -> None:
    """Tell where process PID and its children, or those of the command CMD, spend their time.

    Sampled from outside: nothing runs in the process and nothing stops it. It goes on until the process ends, -d SECONDS, or Ctrl-C, which
    keeps what was seen. With CMD the exit status is that of CMD, and with --json its standard output goes to standard error.

    A stack that moves while it is read is read again, so functions that return within a microsecond are counted a little too rarely.

    --trace and --lines run CMD, a Python program, under the tracers of its own interpreter (cProfile, line_profiler). That slows it down,
    by how much is measured, and functions whose share it changed are marked.

    `profile show FILE` prints a saved profile or writes it in another format; `profile diff BEFORE AFTER` compares two.
    """
    from msgspec import convert

    from pellucid.model.profile import Mode
    from pellucid.observe.sampler import Asked
    from pellucid.present.cli.profile_files import Wanted

    launched = launch.launched(ctx)
    if words[:1] == ("diff",) and launched is None:
        _diff(ctx, words[1:], Wanted(form, output, differential=True), as_json=as_json, force=force)
        return
    wanted = Wanted(form, output)
    if words[:1] == ("show",) and launched is None:
        _show(ctx, words[1:], wanted, as_json=as_json, force=force)
        return
    if (launched is None) == (not words) or launched == () or len(words) > 1:
        raise click.UsageError("Name one thing to look at: a PID, or -- and a command.", ctx)
    if trace or functions:
        _trace(ctx, launched, functions if not trace else (), wanted, seconds, as_json=as_json, force=force)
        return
    asked = Asked(rate_hz=rate, seconds=seconds, mode=convert(mode, Mode), children=children, native=native)
    if push is not None:
        if launched is not None or output or form or as_json:
            raise click.UsageError("--push sends profiles of a PID, and prints none and writes none.", ctx)
        _push(options.resolve(words[0]), asked, push, name, every)
        return
    with wanted.file(force=force) as file:
        if launched is not None:
            profile, status, interrupted = _launch(launched, asked, to_stderr=as_json or wanted.to_stdout)
        else:
            profile, interrupted = _attach(options.resolve(words[0]), asked)
            status = 0
        give(profile, wanted, file, as_json=as_json)
    if interrupted and seconds is not None:
        raise KeyboardInterrupt
    if status:
        sys.stdout.flush()
        raise SystemExit(status)


def _push(pid: int, asked: "Asked", url: str, name: str | None, every: float) -> None:
    from pellucid.model.errors import Partial
    from pellucid.observe import sampler_jvm
    from pellucid.observe.sampler import whom
    from pellucid.present.cli import profile_push

    process = whom(pid)
    if sampler_jvm.is_jvm(process):
        raise click.UsageError("--push is for Python processes: a JVM is stopped for each sample.")
    store = profile_push.Store(url, name or process.name)
    click.echo(f"sending to {store.shown}, a profile every {every:g} s; Ctrl-C ends it", err=True)
    pushed = profile_push.run(store, process, asked, every, lambda line: click.echo(line, err=True))
    lost = f", {pushed.lost} lost ({screen.printable(pushed.said)})" if pushed.lost else ""
    screen.say(f"{pushed.taken} profiles sent{lost}")
    if pushed.lost and not pushed.taken:
        raise SystemExit(Partial.exit_status)


def _attach(pid: int, asked: "Asked") -> "tuple[Profile, bool]":
    """(what was seen, whether it was interrupted)."""
    from pellucid.observe.sampler import sample, whom
    from pellucid.present.cli.progress import Line

    process = whom(pid)
    from pellucid.observe import sampler_jvm

    if sampler_jvm.is_jvm(process):
        return _java(process, asked)
    with launch.interruptions() as stopped, Line() as line:
        profile = sample(process, asked, stopped, lambda now: line.say(_progress(f"pid {pid}", now, asked)))
        return profile, stopped()


def _java(process: "Process", asked: "Asked") -> "tuple[Profile, bool]":
    """A JVM is asked for its stacks again and again."""
    from pellucid.observe import sampler_jvm
    from pellucid.observe.sampler import Progress
    from pellucid.present.cli.progress import Line

    with launch.interruptions() as stopped, Line() as line:

        def say(elapsed_s: float, taken: int, threads: int) -> None:
            line.say(_progress(f"pid {process.pid}", Progress(elapsed_s, taken, 0, 1, threads), asked))

        cpu = asked.mode == "cpu"
        profile = sampler_jvm.sample(
            process, rate_hz=asked.rate_hz, seconds=asked.seconds, cpu=cpu, stopped=stopped, progress=say
        )
        return profile, stopped()


def _launch(words: tuple[str, ...], asked: "Asked", *, to_stderr: bool) -> "tuple[Profile, int, bool]":
    """(what was seen, its exit status, whether it was interrupted). What it prints is not mixed with a line of progress."""
    from pellucid.observe.sampler_launch import sample_command
    from pellucid.present.cli.progress import Line

    with launch.interruptions() as stopped, Line(wanted=not sys.stdout.isatty() and not to_stderr) as line:
        profile, status = sample_command(
            words, asked, stopped, lambda now: line.say(_progress(words[0], now, asked)), stdout=2 if to_stderr else 1
        )
        return profile, status or 0, stopped()


def _trace(
    ctx: click.Context,
    words: tuple[str, ...] | None,
    functions: tuple[str, ...],
    wanted: "Wanted",
    seconds: float | None,
    *,
    as_json: bool,
    force: bool,
) -> None:
    """Ends with the exit status of the program."""
    from pellucid.observe.trace import trace_calls, trace_lines

    if words is None:
        raise click.UsageError("--trace and --lines run a command: profile --trace -- python app.py", ctx)
    given = {"rate", "mode", "children", "native"} & {
        name for name in ctx.params if ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
    }
    if given:
        raise click.UsageError(f"--{min(given)} is about samples, and a tracer takes none.", ctx)
    stdout = 2 if as_json or wanted.to_stdout else 1
    with wanted.file(force=force) as file:
        with launch.interruptions() as stopped:
            if functions:
                profile, status = trace_lines(words, functions, stopped, seconds=seconds, stdout=stdout)
            else:
                profile, status = trace_calls(words, stopped, seconds=seconds, stdout=stdout)
        give(profile, wanted, file, as_json=as_json)
    if status:
        sys.stdout.flush()
        raise SystemExit(status)


def _progress(who: str, now: "Progress", asked: "Asked") -> str:
    until = f" of {asked.seconds:g} s" if asked.seconds is not None else " s; Ctrl-C ends it and keeps what was seen"
    processes = f"{now.processes} processes, " if now.processes != 1 else ""
    missed = f", {now.missed} missed" if now.missed else ""
    return screen.printable(
        f"profiling {who}: {processes}{now.threads} thread{'' if now.threads == 1 else 's'}, {now.taken} samples{missed}, {now.elapsed_s:.0f}{until}"
    )


def give(profile: "Profile", wanted: "Wanted", file: "Saved | None", *, as_json: bool) -> None:
    """The file if one was asked for, and what belongs on stdout. The text comes also where the file can't be written."""
    from pellucid.export.profiles import encode

    try:
        if wanted.form is not None:
            wanted.write(file, encode(profile, wanted.form))
    finally:
        if as_json:
            _print_json(profile)
        elif not wanted.to_stdout:
            if profile.trace is not None:
                from pellucid.present.cli import trace_text

                _print(trace_text.lines(profile, profile.trace))
            else:
                from pellucid.present.cli.profile_text import lines

                _print(lines(profile))
            if wanted.path is not None and sys.exc_info()[0] is None:
                screen.say()
                screen.say(screen.printable(f"written to {wanted.path} ({wanted.form})"))


def _print_json(profile: "Profile") -> None:
    from pellucid.model.hot import reported

    options.emit(reported(profile))


def _print(lines: "Iterable[Line]") -> None:
    for line in lines:
        screen.say(line.text, bold=line.bold, dim=line.dim)


def _show(ctx: click.Context, words: tuple[str, ...], wanted: "Wanted", *, as_json: bool, force: bool) -> None:
    if len(words) != 1:
        raise click.UsageError("Name one file: profile show FILE.", ctx)
    with wanted.file(force=force) as file:
        give(_read(words[0]), wanted, file, as_json=as_json)


def _diff(ctx: click.Context, words: tuple[str, ...], wanted: "Wanted", *, as_json: bool, force: bool) -> None:
    if len(words) != 2:
        raise click.UsageError("Name two files: profile diff BEFORE AFTER.", ctx)
    from pellucid.export.profiles import encode_diff
    from pellucid.model.hot import changes
    from pellucid.model.report import ProfileDiffReport

    before, after = map(_read, words)
    changed = changes(before, after)
    with wanted.file(force=force) as file:
        if wanted.form is not None:
            wanted.write(file, encode_diff(before, after, wanted.form))
        if as_json:
            gaps = (*before.gaps, *after.gaps)
            options.emit(
                ProfileDiffReport(
                    process=after.process,
                    taken_at=after.began_at,
                    gaps=gaps,
                    before=words[0],
                    after=words[1],
                    functions=changed,
                )
            )
        elif not wanted.to_stdout:
            from pellucid.present.cli.profile_text import differences

            _print(differences(before, after, changed))
            if wanted.path is not None:
                screen.say()
                screen.say(screen.printable(f"written to {wanted.path} ({wanted.form})"))


def _read(path: str) -> "Profile":
    from pellucid.saving import load

    return load(path)
