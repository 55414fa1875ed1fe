"""`pellucid files PID|PATH`: every open descriptor of a process, or every process that has a file or port."""

import click

from pellucid.model.report import FilesReport
from pellucid.present.cli import options


@click.command("files")
@click.argument("target", metavar="[PID|PATH]", required=False, shell_complete=options.pids_or_files)
@options.as_json
@click.option("--port", type=click.IntRange(1, 65535), help="Who holds this TCP or UDP port.")
@click.option("--deleted", is_flag=True, help="Deleted files that are still held, of PID or of all processes.")
@click.option("--leaks", is_flag=True, help="What fills the table of descriptors of PID, and which of it grows.")
@click.option(
    "--duration",
    "-d",
    "seconds",
    type=click.FloatRange(0.05, 3600),
    default=1.0,
    show_default=True,
    help="Between the two looks of --leaks.",
)
def command(target: str | None, as_json: bool, port: int | None, deleted: bool, leaks: bool, seconds: float) -> None:
    """List what process PID has open, or who has the file or directory PATH open.

    A target with a slash in it, or that is the name of a file here, is a PATH. The file is recognised by its device and inode: under
    its other names, mapped, as executable, as working or root directory. A deleted one is found by the name that it had.
    """
    from pellucid.present.cli.files_text import tell

    report = _report(target, port=port, deleted=deleted, leaks=leaks, seconds=seconds)
    tell(report, as_json=as_json, deleted=deleted, port=port)


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
    from pellucid.present.cli.files_text import look

    return look(target)
