"""`pellucid files PID|PATH`: every open descriptor of a process, or every process that has a file or port."""

import os

import click

from pellucid.model.report import FilesReport, LeaksReport
from pellucid.present.cli import options, screen


@click.command("files")
@click.argument("target", metavar="[PID|PATH]", required=False)
@options.as_json
@click.option("--port", type=click.IntRange(1, 65535), help="Who holds this TCP or UDP port.")
@click.option("--deleted", is_flag=True, help="Deleted files that are still held, of PID or of all processes.")
@click.option("--leaks", is_flag=True, help="What fills the table of descriptors of PID, and which of it grows.")
@click.option("-d", "seconds", type=click.FloatRange(0.05, 3600), default=1.0, help="Between the two looks of --leaks.")
def command(target: str | None, as_json: bool, port: int | None, deleted: bool, leaks: bool, seconds: float) -> None:
    """List what process PID has open, or who has the file or directory PATH open.

    A target with a slash in it, or that is the name of a file here, is a PATH. The file is recognised by its device and inode: under
    its other names, mapped, as executable, as working or root directory. A deleted one is found by the name that it had.
    """
    report = _report(target, port=port, deleted=deleted, leaks=leaks, seconds=seconds)
    if as_json:
        options.emit(report)
        return
    _show(report, deleted=deleted, port=port)
    for line in screen.gaps(report.gaps):
        screen.say(line, dim=True)


def _report(target: str | None, *, port: int | None, deleted: bool, leaks: bool, seconds: float) -> FilesReport:
    chosen = [name for name, on in (("--port", port is not None), ("--deleted", deleted), ("--leaks", leaks)) if on]
    if len(chosen) > 1:
        raise click.UsageError(f"{chosen[0]} and {chosen[1]} are two questions: ask one.")
    if port is not None:
        if target is not None:
            raise click.UsageError("--port looks at all processes: it takes no PID or PATH.")
        from pellucid.observe.holders import of_port

        return of_port(port)
    if target is None and not deleted:
        raise click.UsageError("PID or PATH is missing (only --port and --deleted look at all processes).")
    if deleted:
        from pellucid.observe.deleted import deleted as held

        return held(options.resolve(target) if target is not None else None)
    assert target is not None
    if leaks:
        from pellucid.observe.leaks import leaks as grown

        return grown(options.resolve(target), seconds)
    if is_path(target):
        from pellucid.observe.holders import of_path

        return of_path(target)
    from pellucid.observe.files import files

    return files(options.resolve(target))


def is_path(target: str) -> bool:
    """It holds a slash, or is the name of something in this directory and no number."""
    return "/" in target or (not target.isdigit() and os.path.lexists(target))


def _show(report: FilesReport, *, deleted: bool, port: int | None) -> None:
    from pellucid.present.cli import files_text

    if isinstance(report, LeaksReport):
        files_text.of_groups(report)
    elif not report.files:
        nothing = "holds a deleted file" if deleted else f"holds port {port}" if port is not None else "has it open"
        screen.say(f"no process that is seen from here {nothing}")
    elif deleted:
        files_text.of_deleted(report.files)
    elif report.process is None:
        files_text.of_several(report.files)
    else:
        files_text.of_one(report.files)
