"""`pellucid recover PID`: deleted files that are still open, and one of them back."""

import signal
import sys
from functools import partial
from types import FrameType

import click

from pellucid.model import Recovered
from pellucid.present.cli import launch, options, screen


@click.command("recover")
@options.target
@options.as_json
@click.option("--fd", type=click.IntRange(0), help="The descriptor whose file is copied back.")
@click.option("--address", help="The mapping whose file is copied back, as the list names it (7f00-8f00).")
@click.option("--output", "-o", "out", type=click.Path(dir_okay=False), metavar="FILE", help="Where the copy goes.")
@click.option("--force", is_flag=True, help="Overwrite FILE.")
@click.option("--follow", is_flag=True, help="Go on copying while it grows, until Ctrl-C or until it is closed.")
def command(
    target: str, as_json: bool, fd: int | None, address: str | None, out: str | None, force: bool, follow: bool
) -> None:
    """List the deleted files that process PID still has open or mapped; with --fd N -o FILE copy one back.

    Holes stay holes, the copy is compared with the file by its SHA-256, and the process and its place in the file stay as they are.
    """
    from pellucid.observe import recover

    pid = options.resolve(target)
    if fd is None and address is None:
        if out is not None or follow:
            raise click.UsageError("Which file? --fd N or --address A; `pellucid recover PID` lists them.")
        listed = recover.recoverable(pid)
        if as_json:
            options.emit(listed)
            return
        _list(pid, listed.files)
        for line in screen.gaps(listed.gaps):
            screen.say(line, dim=True)
        return
    if out is None:
        raise click.UsageError("Where to? -o FILE")
    if fd is not None and address is not None:
        raise click.UsageError("--fd and --address name two files: one at a time.")
    signal.signal(signal.SIGTERM, _interrupted)  # so that no half copy stays behind
    copied_as = partial(recover.recover, pid, fd, out, address=address or "", force=force)
    if follow:
        with launch.interruptions(again=True) as stopped:  # the copy is finished then; a second Ctrl-C leaves nothing
            report = copied_as(follow=lambda size: _progress(size, shown=not as_json) and not stopped())
    else:
        report = copied_as()
    if follow and sys.stderr.isatty() and not as_json:
        click.echo(err=True)
    if as_json:
        options.emit(report)
        return
    (copied,) = report.files
    screen.say(screen.printable(f"{copied.copy}: {copied.size} bytes, sha256 {copied.sha256}"))
    for line in screen.gaps(report.gaps):
        screen.say(line, dim=True)


def _interrupted(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _progress(size: int, *, shown: bool) -> bool:
    if shown and sys.stderr.isatty():
        click.echo(f"\r{size} bytes; Ctrl-C ends it ", err=True, nl=False)
    return True


def _list(pid: int, files: tuple[Recovered, ...]) -> None:
    from pellucid.present.cli.files_text import size

    if not files:
        screen.say(f"pid {pid} holds no deleted file")
        return
    rows = [
        (
            "map" if file.fd is None else str(file.fd),
            "" if file.size is None else str(file.size),
            size(file.allocated),
            f"{file.path}  {file.address}".rstrip(),
        )
        for file in files
    ]
    screen.table(("FD", "SIZE", "DISK", "PATH"), rows, right=frozenset({0, 1, 2}))
    first = files[0]
    which = f"--fd {first.fd}" if first.fd is not None else f"--address {first.address}"
    screen.say(f"next: pellucid recover {pid} {which} -o FILE", dim=True)
