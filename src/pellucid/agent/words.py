"""`--host NAME` among the words of a command line."""

from collections.abc import Sequence

from pellucid.model.errors import UsageError


def without_host(words: Sequence[str]) -> tuple[str, list[str]]:
    """(the host's name, the other words). Raises UsageError: no name, or several."""
    names, others = [], []
    rest = iter(words)
    for word in rest:
        if word == "--":
            others += [word, *rest]
        elif word == "--host":
            names.append(next(rest, ""))
        elif word.startswith("--host="):
            names.append(word.removeprefix("--host="))
        else:
            others.append(word)
    if len(names) != 1 or not names[0]:
        said = "--host is given twice" if len(names) > 1 else "--host needs the name of a host"
        raise UsageError(
            tried="ask another machine", said=said, remedy="pellucid agent hosts  (lists the hosts that are known here)"
        )
    return names[0], others


_HERE = {
    "record": (
        "a recording is made where its processes are, and goes on when the connection ends",
        "ssh NAME pellucid record ...",
    ),
    "replay": ("a recording is a file, and an agent reads none for others", "copy the file here, or ssh NAME pellucid replay ..."),
    "jvm": ("it changes the JVM or makes it work, and an agent changes nothing", "ssh NAME pellucid jvm ..."),
    "metrics": ("a collector of metrics asks each machine itself", "start pellucid metrics there"),
}  # fmt: skip


def only_here(command: str) -> UsageError:
    """Why `command` has no --host."""
    said, remedy = _HERE.get(
        command, ("it is a matter of this machine: its files, its shell, its models", f"pellucid {command} --help")
    )
    return UsageError(tried=f"run `pellucid {command}` on another machine", said=said, remedy=remedy)
