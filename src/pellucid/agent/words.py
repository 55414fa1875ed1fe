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
