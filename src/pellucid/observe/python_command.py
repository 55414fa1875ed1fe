"""A command line that runs a Python program, taken apart as the interpreter itself does it (Python/initconfig.c, 3.13): which interpreter, with
which options of its own, which program, with which arguments. A script that names its interpreter in its first line (`gunicorn`) counts too.
"""

import os
import re
import shutil
from typing import Literal

from msgspec import Struct

from pellucid.model.errors import UsageError

_WITH_VALUE = "WX"
_FIRST_LINE = 512


class PythonCommand(Struct, frozen=True):
    """`interpreter` is a path. `form` says what `name` is: a file, the name of a module, or the program's text itself."""

    interpreter: str
    options: tuple[str, ...]
    form: Literal["script", "module", "code"]
    name: str
    arguments: tuple[str, ...]


def understood(
    words: tuple[str, ...], instead: str = "pellucid profile -- CMD  (samples any command from outside)"
) -> PythonCommand:
    """Raises UsageError: no such command, none that runs Python, one without a program."""
    found = shutil.which(words[0])
    if found is None:
        raise UsageError(tried=f"run {words[0]!r}", said="there is no such command", remedy=instead)
    if _is_python(found):
        return _apart(found, words[1:], instead)
    interpreter = _of_script(found)
    if not interpreter:
        raise _refused(
            f"{found} is neither a Python interpreter nor a script that names one in its first line", instead
        )
    return _apart(interpreter[0], (*interpreter[1:], found, *words[1:]), instead)


def _is_python(path: str) -> bool:
    """By its name, or by that of what it is a link to."""
    names = (os.path.basename(path), os.path.basename(os.path.realpath(path)))
    return any(re.fullmatch(r"python(\d+(\.\d+)?[a-z]*)?", name) for name in names)


def _of_script(path: str) -> list[str]:
    """The interpreter of a script and its options: `#!/usr/bin/env python3`.

    Where its path is long or has spaces, pip lets the shell start it (distlib/scripts.py: `'''exec' "/a long/path/python" "$0" "$@"`).
    """
    try:
        with open(path, "rb") as file:
            head = file.read(_FIRST_LINE).decode("utf-8", "replace")
    except OSError:
        return []
    by_shell = re.match(r"#!/bin/sh\n'''exec' (?:\"([^\"]+)\"|(\S+)) \"\$0\"", head)
    if by_shell:
        words = [by_shell[1] or by_shell[2]]
    elif head.startswith("#!"):
        words = head[2:].partition("\n")[0].split()
    else:
        return []
    if words and os.path.basename(words[0]) == "env":
        words = [word for word in words[1:] if word != "-S"]
    interpreter = shutil.which(words[0]) if words else None
    return [interpreter, *words[1:]] if interpreter and _is_python(interpreter) else []


def _apart(interpreter: str, words: tuple[str, ...], instead: str) -> PythonCommand:
    options: list[str] = []
    rest = list(words)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        word = rest.pop(0)
        if word.startswith("--"):
            if word in ("--help", "--version") or word.startswith("--help-"):
                raise _refused(f"{word} runs no program", instead)
            options.append(word)
            if word == "--check-hash-based-pycs" and rest:
                options.append(rest.pop(0))
            continue
        for at, letter in enumerate(word[1:], 1):
            if letter in "hV?":
                raise _refused(f"-{letter} runs no program", instead)
            if letter in "cm":
                if word[1:at]:
                    options.append(f"-{word[1:at]}")
                name = word[at + 1 :] or (rest.pop(0) if rest else "")
                if not name:
                    raise _refused(f"-{letter} needs an argument", instead)
                return PythonCommand(
                    interpreter, tuple(options), "code" if letter == "c" else "module", name, tuple(rest)
                )
            if letter in _WITH_VALUE:
                options.append(word)
                if not word[at + 1 :] and rest:
                    options.append(rest.pop(0))
                break
        else:
            options.append(word)
    if not rest or rest[0] == "-":
        raise _refused("it names no program: what is typed or piped into an interpreter can't be traced", instead)
    return PythonCommand(interpreter, tuple(options), "script", rest[0], tuple(rest[1:]))


def _refused(said: str, instead: str) -> UsageError:
    return UsageError(tried="trace a Python program", said=said, remedy=instead)
