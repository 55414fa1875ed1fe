"""`pellucid output PID`: what a running process prints, to this terminal or to a file."""

import sys
import time
from functools import partial
from typing import IO, Protocol

import click
from msgspec.structs import replace

from pellucid.model.errors import UsageError, os_words
from pellucid.model.output import OutputReport, Printed
from pellucid.present.cli import launch, options, screen

MAX_KEPT = 1 << 26
"""Bytes that --json keeps in memory for its one document; what comes then is counted as lost."""

_STREAMS = {1: "stdout", 2: "stderr"}


class Written(Protocol):
    """A piece of output, as `observe.output` gives it."""

    @property
    def pid(self) -> int: ...
    @property
    def tid(self) -> int: ...
    @property
    def time_ns(self) -> int: ...
    @property
    def stream(self) -> int: ...
    @property
    def fd(self) -> int: ...
    @property
    def first(self) -> bool: ...
    @property
    def content(self) -> bytes: ...


@click.command("output")
@options.target
@options.as_json
@click.option(
    "--duration",
    "-d",
    "seconds",
    type=click.FloatRange(0.05),
    help="Stop after so long (else: at Ctrl-C, or when the process ends).",
)
@click.option(
    "--output", "-o", "out", type=click.Path(dir_okay=False), metavar="FILE", help="Write it to FILE instead."
)
@click.option("--force", is_flag=True, help="Overwrite FILE.")
@click.option("--children/--no-children", default=True, help="Also what its children write there.  [default: yes]")
@click.option(
    "--timestamps", is_flag=True, help="Before each line: when it was written, by which pid, on which stream."
)
@click.option("--raw", is_flag=True, help="Colours and other control characters as they are, also on a terminal.")
@click.option(
    "--backend",
    type=click.Choice(("bpf", "ptrace")),
    default="bpf",
    help="How to look: bpf lets it run, ptrace stops it at each call.",
)
def command(
    target: str,
    as_json: bool,
    seconds: float | None,
    out: str | None,
    force: bool,
    children: bool,
    timestamps: bool,
    raw: bool,
    backend: str,
) -> None:
    """Print what process PID and its children write on stdout and stderr, without stopping or redirecting them.

    The output still goes where it went before. What could not be copied is counted and said at the end, on stderr.
    """
    from pellucid.observe.output import output

    pid = options.resolve(target)
    with launch.interruptions(again=True) as stopped:
        copied = partial(output, pid, children=children, seconds=seconds, backend=backend, stopped=stopped)
        if as_json and out is None:
            kept = _Kept()
            report = kept.whole(copied(kept.take))
        elif out is not None:
            with _opened(out, force=force) as file:
                writer = _Writer(file, timestamps=timestamps, inert=False)
                report = copied(writer.take, drained=writer.flush)
                writer.end()
        else:
            writer = _Writer(sys.stdout.buffer, timestamps=timestamps, inert=sys.stdout.isatty() and not raw)
            report = copied(writer.take, drained=writer.flush)
            writer.end()
    if as_json:
        options.emit(report)
    _told(report)
    if report.ended == "interrupted" and seconds is not None:
        raise KeyboardInterrupt


def _opened(out: str, *, force: bool) -> IO[bytes]:
    try:
        return open(out, "wb" if force else "xb", buffering=0)
    except OSError as error:
        remedy = "another -o, or --force" if isinstance(error, FileExistsError) else "another -o"
        raise UsageError(tried=f"write to {out}", said=os_words(error), remedy=remedy) from error


def _told(report: OutputReport) -> None:
    """On stderr, so that the output stays the output alone."""
    counted = ", ".join(f"{count} bytes of {name}" for name, count in report.bytes.items() if count) or "nothing"
    lost = f"; {report.lost_bytes} bytes lost" if report.lost_bytes else "; none lost" if not report.gaps else ""
    click.echo(f"pellucid: {counted} in {report.span_s:.1f} s{lost}; {report.ended}", err=True)
    for line in screen.gaps(report.gaps):
        click.echo(line, err=True)


class _Writer:
    """To a terminal or file: bytes as they come, or line by line with a stamp each."""

    def __init__(self, file: IO[bytes], *, timestamps: bool, inert: bool) -> None:
        self.file = file
        self.timestamps = timestamps
        self.inert = inert
        self._lines: dict[tuple[int, int], tuple[int, bytes]] = {}
        self._waiting: list[bytes] = []
        self._epoch_ns = time.time_ns() - time.monotonic_ns()

    def take(self, written: Written) -> None:
        if not self.timestamps:
            self._waiting.append(written.content)
            return
        key = (written.pid, written.stream)
        since, begun = self._lines.pop(key, (written.time_ns, b""))
        *lines, rest = (begun + written.content).split(b"\n")
        for line in lines:
            self._stamped(key, since, line)
            since = written.time_ns
        if rest:
            self._lines[key] = since, rest

    def end(self) -> None:
        """What did not end in a line break."""
        for key, (since, rest) in self._lines.items():
            self._stamped(key, since, rest)
        self._lines.clear()
        self.flush()

    def _stamped(self, key: tuple[int, int], at_ns: int, line: bytes) -> None:
        at = (at_ns + self._epoch_ns) / 1e9
        clock = time.strftime("%H:%M:%S", time.localtime(at)) + f".{int(at % 1 * 1000):03d}"
        self._waiting.append(f"{clock} {key[0]} {_STREAMS[key[1]]}: ".encode() + line + b"\n")

    def flush(self) -> None:
        """Write down what has come since the last time, at once: a call for each line would take as long as the copying."""
        if not self._waiting:
            return
        content = b"".join(self._waiting)
        self._waiting.clear()
        if self.inert:
            lines = content.decode("utf-8", "replace").split("\n")
            content = "\n".join("\t".join(map(screen.printable, line.split("\t"))) for line in lines).encode()
        try:
            view = memoryview(content)
            while view:
                view = view[self.file.write(view) or 0 :]
            self.file.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            remedy = "an -o on another file system; what was written until then is kept"
            raise UsageError(tried="write the output down", said=os_words(error), remedy=remedy) from error


class _Kept:
    """For the JSON document."""

    def __init__(self) -> None:
        self.printed: list[Printed] = []
        self.size = self.left_out = 0
        self._epoch_ns = time.time_ns() - time.monotonic_ns()

    def take(self, written: Written) -> None:
        if self.size + len(written.content) > MAX_KEPT:
            self.left_out += len(written.content)
            return
        self.size += len(written.content)
        at = (written.time_ns + self._epoch_ns) / 1e9
        text = written.content.decode("utf-8", "replace")
        self.printed.append(Printed(at, written.pid, written.tid, _STREAMS[written.stream], written.fd, text))

    def whole(self, report: OutputReport) -> OutputReport:
        from pellucid.model import Gap

        why = f"at most {MAX_KEPT} bytes fit into one JSON document"
        more = (Gap(f"{self.left_out} bytes of output", why, "-o FILE"),) if self.left_out else ()
        return replace(
            report,
            printed=tuple(self.printed),
            lost_bytes=report.lost_bytes + self.left_out,
            gaps=(*report.gaps, *more),
        )
