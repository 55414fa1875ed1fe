"""`pellucid files PID`: every open descriptor and what it is."""

import click

from pellucid.present.cli import options, screen


@click.command("files")
@options.target
@options.as_json
def command(target: str, as_json: bool) -> None:
    """List the open descriptors of process PID: files, directories, sockets with peers, pipes with the process at the other end."""
    from pellucid.observe.files import files

    report = files(options.resolve(target))
    if as_json:
        options.emit(report)
        return
    rows = []
    for file in report.files:
        holders = (
            f"  ({', '.join(f'pid {pid}' for pid in file.holders[:4])}{', ...' if len(file.holders) > 4 else ''})"
            if file.holders
            else ""
        )
        deleted = "  (deleted)" if file.deleted else ""
        detail = f"  {file.detail}" if file.detail else ""
        rows.append(
            (
                "" if file.fd is None else str(file.fd),
                file.kind,
                file.flags,
                "" if file.size is None else str(file.size),
                f"{file.path}{deleted}{detail}{holders}",
            )
        )
    screen.table(("FD", "KIND", "FLAGS", "SIZE", "WHAT"), rows, right=frozenset({0, 3}))
    for line in screen.gaps(report.gaps):
        screen.say(line, dim=True)
