"""The command line. The table of commands is `pellucid.app.COMMANDS`: name → (module:object, one line of help).

click understands it (`lazy.py`), but for the shortest forms of the six commands that are asked for most, and `--version`: they need
no more than their words, and importing click takes longer than the look itself (benchmarks/RESULTS.md, floors of `dump`).
"""

import gc as collector  # a command is called gc, whose module would take the name
import importlib
import os
import sys
from collections.abc import Callable, Mapping

from pellucid import __version__

Table = Mapping[str, tuple[str, str]]

STRAIGHT = {
    "files": "pellucid.present.cli.files_text",
    "gc": "pellucid.present.cli.gc_text",
    "heap": "pellucid.present.cli.heap_jvm_text",
    "stacks": "pellucid.present.cli.stack_text",
    "waits": "pellucid.present.cli.waits_text",
    "why": "pellucid.present.cli.why_text",
}
"""`COMMAND TARGET` and `COMMAND TARGET --json` of these call `show(target, as_json=...)` of the module, as click's command does.

Where that returns None (a heap that is no JVM's) the command line is click's after all.
"""


def run(table: Table, elsewhere: Callable[[list[str]], int | None], hosted: frozenset[str]) -> int:
    """Run the command line of this process and return its exit status.

    `elsewhere` is asked first: it returns the status of what another machine has run, None for what is ours. `hosted` are the commands
    of which that may be.
    """
    try:
        status = elsewhere(sys.argv[1:])
        if status is None:
            status = _straight(sys.argv[1:])
        if status is None:
            from pellucid.present.cli.lazy import by_click

            status = by_click(table, hosted)
    except KeyboardInterrupt:
        status = 130
    except BrokenPipeError:
        status = 0
    except Exception as error:  # noqa: BLE001  anything that is not an error of ours is raised again
        status = _told(error)
    try:
        sys.stdout.flush()  # also what was printed before an error or Ctrl-C: the process ends without Python's own flush
    except BrokenPipeError:
        # The reader of our output has left (`| head`). Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return status


def _straight(words: list[str]) -> int | None:
    """The exit status of a command line that is understood without click; None for any other."""
    if words == ["--version"]:
        print(f"pellucid {__version__}")
        return 0
    if len(words) < 2 or words[0] not in STRAIGHT or words[1].startswith("-") or words[2:] not in ([], ["--json"]):
        return None
    _import_msgspec_alone()
    show = importlib.import_module(STRAIGHT[words[0]]).show
    collect_rarely()
    status: int | None = show(words[1], as_json=len(words) == 3)
    return status


def collect_rarely() -> None:
    """Switch the collector on, for after the imports: what was imported stays, and need not be searched for cycles.

    Values of ours hold no cycles; a list of 25,000 sockets is made in half the time when it is not searched for them again and again.
    """
    collector.freeze()
    collector.set_threshold(100_000, 20, 100)
    collector.enable()


def _import_msgspec_alone() -> None:
    """Import msgspec as where typing_extensions is not installed: it brings inspect, ast and tokenize, a tenth of `pellucid stacks`.

    msgspec takes from it what typing has itself since 3.11 (msgspec/_utils.py, 0.22). A module that is None in sys.modules can't be
    imported (the import system, docs.python.org/3/reference/import.html#the-module-cache); it can again when this is over.
    """
    if "typing_extensions" not in sys.modules:
        sys.modules["typing_extensions"] = None  # type: ignore[assignment]
        try:
            importlib.import_module("msgspec")
        finally:
            del sys.modules["typing_extensions"]


def _told(error: Exception) -> int:
    """The three lines of an error of ours, or its JSON; anything else is a bug and is raised again."""
    from pellucid.model.errors import NoSuchProcess, PellucidError

    if not isinstance(error, PellucidError):
        raise error
    if "--json" in sys.argv[1:]:
        from pellucid.export.json import encode_error

        sys.stdout.buffer.write(encode_error(error))
        sys.stdout.flush()
    else:
        from pellucid.present.cli.screen import as_run, printable

        said, *more = error.said.splitlines()  # more: a list of candidates
        lines = [
            f"pellucid: can't {error.tried}",
            f"  why: {said}",
            *(f"       {line}" for line in more),
            f"  try: {as_run(error.remedy)}",
        ]
        if isinstance(error, NoSuchProcess):
            from pellucid.observe.identity import contained

            if contained():
                lines[-1] += "; a pid of the host: on the host (this is a container, with pids of its own)"
        print("\n".join(printable(line) for line in lines), file=sys.stderr, flush=True)
    return error.exit_status
