"""`pellucid heap PID|FILE`: the objects of a process by type, who holds them, and, over several looks, who holds ever more."""

import os
import sys
from typing import TYPE_CHECKING

import click

from pellucid.present.cli import options, screen

if TYPE_CHECKING:
    from pellucid.model.heap import HeapReport
    from pellucid.observe.heap import TooMuch
    from pellucid.observe.heap_look import HeapSeen


@click.command("heap")
@click.argument("targets", metavar="PID|FILE | diff A B", nargs=-1, required=True, shell_complete=options.pids_or_files)
@options.as_json
@click.option(
    "--save", "file", metavar="FILE", help="Also write the snapshot to FILE: addresses, types, sizes, references."
)
@click.option("--force", is_flag=True, help="Overwrite FILE.")
@click.option(
    "--no-pause",
    is_flag=True,
    help="Do not stop the process for the copy: what it changes meanwhile is then uncertain.",
)
@click.option(
    "--every", type=click.FloatRange(0.1, 86400), metavar="SECONDS", help="Look again and again, and say what grows."
)
@click.option("--looks", type=click.IntRange(2, 10_000), default=3, show_default=True, help="How many, with --every.")
@click.option("-n", "most", type=click.IntRange(1, 10_000), default=15, show_default=True, help="Rows of the table.")
@click.option(
    "--live", is_flag=True, help="Of a JVM: only what is in use; it makes a full collection first and stands still."
)
@click.option(
    "--type",
    "type_name",
    metavar="NAME",
    help="Who holds the objects of this class (or glob); of a dump of a JVM: those of them that retain most.",
)
@click.option("--object", "object_id", metavar="ID", help="Of a dump of a JVM: one object, its fields, who holds it.")
@click.option("--histogram", is_flag=True, help="Of a dump of a JVM: the counts alone, without who holds whom.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    metavar="MB",
    help="Copy no more; of a larger process the types alone are counted.",
)
@click.option("--include-values", is_flag=True, help="Spell out keys that are no names: they may be secrets.")
def command(
    targets: tuple[str, ...],
    as_json: bool,
    file: str | None,
    force: bool,
    no_pause: bool,
    every: float | None,
    looks: int,
    most: int,
    live: bool,
    type_name: str | None,
    object_id: str | None,
    histogram: bool,
    limit: int | None,
    include_values: bool,
) -> None:
    """Count the objects of process PID by type and say who holds most of them; or read a saved FILE; or tell what grew from A to B.

    The process stands still while its memory is copied, and the output says for how long. It gets SIGSTOP and then SIGCONT, also when
    pellucid is killed meanwhile. Nothing runs in it and nothing is written to it. The copy is read when it goes on again.

    A JVM is asked for its own histogram, without a collection; --save makes it write a dump, during which it stands still, and that is read
    like any other FILE.hprof (also .hprof.gz): who holds whom, retained sizes, suspects with the way on which they are held.
    """
    if _java(
        targets,
        file,
        as_json=as_json,
        most=most,
        force=force,
        every=every,
        looks=looks,
        live=live,
        type_name=type_name,
        object_id=object_id,
        histogram=histogram,
        values=include_values,
    ):
        return
    if targets[0] == "diff" and len(targets) > 1:
        if len(targets) != 3:
            raise click.UsageError("heap diff takes two snapshots: heap diff BEFORE AFTER.")
        if file or every:
            raise click.UsageError("--save and --every are for a process: they do not go with diff.")
        _diff(targets[1], targets[2], as_json=as_json, most=most, pause=not no_pause)
        return
    if len(targets) > 1:
        raise click.UsageError("heap takes one PID or FILE, or: heap diff BEFORE AFTER.")
    if every is not None:
        if file:
            raise click.UsageError("--save keeps one look, --every makes several: ask one.")
        _series(
            options.resolve(targets[0]),
            every,
            looks,
            as_json=as_json,
            most=most,
            pause=not no_pause,
            values=include_values,
        )
        return
    copied = limit << 20 if limit is not None else None
    _one(
        targets[0],
        file,
        copied,
        type_name,
        as_json=as_json,
        most=most,
        pause=not no_pause,
        force=force,
        values=include_values,
    )


def _java(
    targets: tuple[str, ...],
    file: str | None,
    *,
    as_json: bool,
    most: int,
    force: bool,
    every: float | None,
    looks: int,
    live: bool,
    type_name: str | None,
    object_id: str | None,
    histogram: bool,
    values: bool,
) -> bool:
    """Whether it was about a JVM or its dumps; then it is done."""
    from pellucid.observe.jvm_dump import is_dump

    files = targets[1:] if targets[0] == "diff" and len(targets) == 3 else targets[:1]
    if all(_is_file(one) and is_dump(one) for one in files):
        from pellucid.present.cli import heap_jvm_text

        if len(files) == 2:
            heap_jvm_text.diff(*files, as_json=as_json, most=most)
        elif type_name is not None or object_id is not None:
            heap_jvm_text.objects(files[0], type_name=type_name, object_id=object_id, values=values, as_json=as_json)
        else:
            heap_jvm_text.file(files[0], as_json=as_json, most=most, quick=histogram)
        return True
    if len(targets) == 1 and not _is_file(targets[0]):
        from pellucid.observe.identity import info_runtime

        pid = options.resolve(targets[0])
        if info_runtime(pid) == "JVM":
            from pellucid.present.cli import heap_jvm_text

            if every is not None:
                heap_jvm_text.series(pid, every, looks, live=live, as_json=as_json, most=most)
                return True
            if file is not None:
                heap_jvm_text.dump(pid, file, live=live, force=force, as_json=as_json, most=most)
            else:
                heap_jvm_text.process(pid, live=live, as_json=as_json, most=most)
            return True
    if live or object_id is not None or histogram:
        raise click.UsageError("--live, --object and --histogram are for JVMs and their dumps.")
    return False


def _one(
    target: str,
    file: str | None,
    limit: int | None,
    type_name: str | None,
    *,
    as_json: bool,
    most: int,
    pause: bool,
    force: bool,
    values: bool,
) -> None:
    from pellucid.diagnose.heap import report
    from pellucid.observe import heap_file
    from pellucid.observe.heap import TooMuch
    from pellucid.present.cli import heap_text

    if file is not None and os.path.lexists(file) and not force:
        heap_file.refuse(file)  # before the process is stopped for nothing
    try:
        seen = _seen(target, pause=pause, values=values, limit=limit, type_name=type_name)
    except TooMuch as large:
        if file is not None:
            raise
        found = _in_pieces(large, limit)
    else:
        if file is not None:
            size = heap_file.save(file, seen, force=force)
            _tell(f"saved to {file} ({size:,} bytes)")
        found = report(seen)
    if as_json:
        options.emit(found)
        return
    heap_text.show(found, most)


def _in_pieces(large: "TooMuch", limit: int | None) -> "HeapReport":
    """Types alone, of a process that can't be copied as a whole."""
    from pellucid.diagnose.heap import counted
    from pellucid.observe.heap import PIECE, streamed

    _tell(f"{large.said}: the types are counted in pieces, without a pause")
    process, census = streamed(large.pid, piece=min(limit or PIECE, PIECE))
    return counted(process, census)


def _seen(
    target: str, *, pause: bool, values: bool = False, limit: int | None = None, type_name: str | None = None
) -> "HeapSeen":
    """A look at a process, or what a file says of one."""
    if _is_file(target):
        from pellucid.observe import heap_file

        return heap_file.load(target, type_name=type_name)
    from pellucid.observe.heap_look import EVERYTHING, look

    pid = options.resolve(target)
    return look(pid, pause=pause, include_values=values, limit=limit or EVERYTHING, type_name=type_name, told=_tell)


def _is_file(target: str) -> bool:
    return "/" in target or (not target.isdigit() and os.path.lexists(target))


def _diff(before: str, after: str, *, as_json: bool, most: int, pause: bool) -> None:
    from pellucid.diagnose.heap import compare
    from pellucid.observe.heap_series import of
    from pellucid.present.cli import heap_text

    found = compare(of([_seen(before, pause=pause), _seen(after, pause=pause)]))
    if as_json:
        options.emit(found)
        return
    heap_text.show_growth(found, most)


def _series(pid: int, seconds: float, looks: int, *, as_json: bool, most: int, pause: bool, values: bool) -> None:
    from pellucid.diagnose.heap import compare
    from pellucid.model.errors import Interrupted
    from pellucid.observe.heap_series import every
    from pellucid.present.cli import heap_text

    last = None
    interrupted = False
    try:
        for series in every(pid, seconds, looks, pause=pause, include_values=values, told=_tell):
            last = compare(series)
            if not as_json and len(last.looks) < looks:
                screen.say(heap_text.interval(last), dim=True)
    except KeyboardInterrupt:
        if last is None:
            raise
        interrupted = True
    assert last is not None
    if as_json:
        options.emit(last)
    else:
        heap_text.show_growth(last, most)
    if interrupted:
        raise Interrupted(
            tried=f"look at the heap of pid {pid} {looks} times",
            said=f"interrupted after {len(last.looks)} looks",
            remedy="what was seen until then is told above",
        )


def _tell(text: str) -> None:
    print(screen.printable(text), file=sys.stderr, flush=True)
