"""Printing for a terminal: colour only where wanted, text of other processes made inert, long lines left to the terminal.

A process chooses its own name, paths and thread names; an escape sequence or a line break in them must not reach the terminal.
"""

import os
import sys
from collections.abc import Sequence

from pellucid.inert import inert
from pellucid.model import Finding, Gap, Severity
from pellucid.terminal import coloured

_COLOURS: dict[Severity, str] = {"critical": "red", "warning": "yellow", "notice": "cyan", "info": "green"}
_CODES = {"red": 31, "green": 32, "yellow": 33, "cyan": 36, "bold": 1, "dim": 2}
"""Select Graphic Rendition, ECMA-48 8.3.117 (console_codes(4))."""
printable = inert
"""Whatever another process chose is printed by it."""
_MARKS: dict[Severity, str] = {"critical": "!!", "warning": "!", "notice": "-", "info": "·"}


def say(text: str = "", *, bold: bool = False, dim: bool = False, colour: str | None = None) -> None:
    """One line on stdout."""
    wanted = [name for name, wish in ((colour, colour), ("bold", bold), ("dim", dim)) if wish]
    if wanted and coloured():
        text = f"\x1b[{';'.join(str(_CODES[str(name)]) for name in wanted)}m{text}\x1b[0m"
    print(text)


def mark(severity: Severity) -> tuple[str, str]:
    """(`!! critical`, colour): the word carries the meaning, the colour only repeats it."""
    return f"{_MARKS[severity]} {severity}", _COLOURS[severity]


def as_run(remedy: str) -> str:
    """`sudo pellucid syscalls 4242` as it was run: `sudo /srv/app/.venv/bin/pellucid syscalls 4242 --failed -d 10`.

    The same words, and the program by its path where sudo would not find it.
    """
    program, *words = sys.argv
    if "sudo pellucid " not in remedy or os.path.basename(program) != "pellucid":
        return remedy
    import re  # only where something was refused
    import shlex

    before, _, line = remedy.partition("sudo pellucid ")
    program = os.path.abspath(program)
    if os.path.dirname(program) in _FOUND_BY_SUDO:
        program = "pellucid"
    asked = re.match(_SUDO_LINE, line)
    if asked is not None and "--" not in words:
        line = " ".join(map(shlex.quote, words)) + line[asked.end() :]
    return f"{before}sudo {program} {line}"


_SUDO_LINE = r"[a-z]+(?: cmd)? \d+(?=$|,|  \()"
"""`why 4242`, and not what has options of its own."""
_FOUND_BY_SUDO = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
"""secure_path of sudoers(5), as Debian and Ubuntu set it."""


def gaps(found: tuple[Gap, ...], most: int = 3) -> list[str]:
    """`not seen: ...` lines; equal reasons together, at most `most`."""
    by_why: dict[tuple[str, str], dict[str, None]] = {}
    for gap in found:
        by_why.setdefault((gap.why, as_run(gap.remedy)), {})[gap.what] = None
    lines = []
    for (why, remedy), whats in list(by_why.items())[:most]:
        first = next(iter(whats))
        what = first if len(whats) == 1 else f"{len(whats)} things ({first}, ...)"
        lines.append(printable(f"not seen: {what}: {why}" + (f"; try: {remedy}" if remedy else "")))
    if len(by_why) > most:
        lines.append(f"not seen: {len(by_why) - most} more kinds of gaps (--json lists them)")
    return lines


def findings(found: Sequence[Finding], *, evidence: bool = False) -> None:
    """Each with its mark and sentence, then the commands to run next."""
    for finding in found:
        word, colour = mark(finding.severity)
        sure = "" if finding.confidence == "certain" else f" ({finding.confidence})"
        bold = finding.severity in {"critical", "warning"}
        say(printable(f"{word}{sure}: {finding.title}"), colour=colour, bold=bold)
        say("   " + printable(finding.sentence))
        if evidence:
            for ref in finding.evidence:
                say(printable(f"     {ref.source}: {ref.said}"), dim=True)
    commands = dict.fromkeys(command for finding in found for command in finding.next)
    if commands:
        say("next: " + printable(" · ".join(list(commands)[:4])))


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]], *, right: frozenset[int] = frozenset()) -> None:
    """A plain table; the last column is as long as it is."""
    columns = [_printable(column) for column in zip(head, *rows, strict=True)]
    padded = [_aligned(column, right=place in right) for place, column in enumerate(columns)]
    lines = [line.rstrip() for line in map("  ".join, zip(*padded, strict=True))]
    say(lines[0], bold=True)
    if rows:
        say("\n".join(lines[1:]))


def _printable(column: tuple[str, ...]) -> Sequence[str]:
    """Looked at as a whole first: most columns have nothing to spell out, and a host has many sockets."""
    return column if "".join(column).isprintable() else [printable(cell) for cell in column]


def _aligned(column: Sequence[str], *, right: bool) -> list[str]:
    width = max(map(len, column))
    return [cell.rjust(width) for cell in column] if right else [cell.ljust(width) for cell in column]
