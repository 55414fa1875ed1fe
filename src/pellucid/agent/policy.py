"""What a client may ask of an agent: a table of commands and options, and nothing besides.

Everything in it looks and changes nothing. Two kinds of looks are not free, and need a scope that the agent was started with:
`contents` (what a process holds or says: deleted files, its output, secrets) and `pause` (a look that stops the process, or makes it work).
No command of the client's is started, and no file of the agent's machine is read or written for it: what -o writes is sent to the client.
"""

from collections.abc import Mapping
from typing import Final

import click
import msgspec
from click.core import ParameterSource

from pellucid.model.errors import UsageError

SCOPES: Final = ("contents", "pause")

PID, PIDS, NAME, PATH, NONE, INCIDENT = "pid", "pids", "name", "path", "none", "incident"
"""What stands after the options: one process (a number or a pattern), several, a number or nothing, a path to look for, nothing, `show ID`."""

MAX_WORDS: Final = 96
MAX_WORD: Final = 4096


class Rule(msgspec.Struct, frozen=True):
    """What may be asked of a command. `options`: the parameter's name → the scope that it needs ("" for none)."""

    after: str
    options: Mapping[str, str]
    scope: str = ""
    file: str = ""
    """The parameter that names the file to write."""
    sparing: str = ""
    """The parameter that makes the command need no scope."""


def _free(*names: str, **scoped: str) -> dict[str, str]:
    return {**dict.fromkeys((*names, "as_json"), ""), **scoped}


RULES: Final[Mapping[str, Rule]] = {
    "why": Rule(PID, _free("fail_on", "span", "quick", "evidence")),
    "ps": Rule(NAME, _free("tree")),
    "info": Rule(PID, _free()),
    "env": Rule(PID, _free("changed", show_secrets="contents")),
    "stacks": Rule(PID, _free("every", "tasks")),
    "waits": Rule(PIDS, _free("dot", "children", "span")),
    "files": Rule(PATH, _free("port", "deleted", "leaks", "seconds")),
    "recover": Rule(PID, _free("fd", "address", "out", "force", "follow"), scope="contents", file="out"),
    "output": Rule(
        PID,
        _free("seconds", "out", "force", "children", "timestamps", "raw", backend="pause"),
        scope="contents",
        file="out",
    ),
    "sockets": Rule(NAME, _free()),
    "syscalls": Rule(
        PID,
        _free(
            "summary", "failed", "slow", "written", "read", "net", "every", "seconds", "output", "force",
            backend="pause",
        ),
        file="output",
    ),
    "oom": Rule(PID, _free()),
    "memory": Rule(PID, _free("seconds", "evidence", inside="pause")),
    "gc": Rule(PID, _free("watch", "seconds", "interval", ask="pause")),
    "profile": Rule(
        PID,
        _free("seconds", "rate", "mode", "children", "native", "form", "output", "force"),
        file="output",
    ),
    "heap": Rule(
        PID,
        _free(
            "file", "force", "no_pause", "every", "looks", "most", "type_name", "limit", live="pause", include_values="contents"
        ),
        scope="pause",
        file="file",
        sparing="no_pause",
    ),
    "check": Rule(NONE, _free()),
    "incidents": Rule(INCIDENT, _free()),
}  # fmt: skip
BY_NUMBER: Final = frozenset({"oom", "gc", "profile", "heap"})
"""Commands that would take a name for a file of the agent's machine: these are asked by pid."""


class Plan(msgspec.Struct, frozen=True):
    """A command line that may be run: its words before and after the file that it writes to (`written`: the client's name of it)."""

    words: tuple[str, ...]
    written: str = ""
    flag: str = ""

    def line(self, path: str) -> list[str]:
        """The words, with the file at `path`."""
        name, *others = self.words
        return [name, *([self.flag, path, "--force"] if self.written else []), *others]


def planned(words: tuple[str, ...], scopes: frozenset[str], commands: Mapping[str, click.Command]) -> Plan:
    """What is run for `words`, by `commands` (name → the command). Raises UsageError: not among what may be asked, or a scope is missing."""
    if not words or len(words) > MAX_WORDS or any(len(word) > MAX_WORD or "\0" in word for word in words):
        raise _refused("run that", "it is no command line", "pellucid --help")
    name, *others = words
    rule = RULES.get(name)
    if rule is None:
        said = "an agent looks; this changes something, starts something or is a matter of this machine"
        raise _refused(f"run `pellucid {name}` there", said, f"what an agent does: {', '.join(RULES)}")
    if "--" in others:
        raise _refused(
            f"run a command by `pellucid {name}` there",
            "an agent starts no command of yours",
            f"pellucid {name} PID --host NAME",
        )
    given, rest = _parsed(commands[name], name, others)
    for option in given:
        if option not in rule.options:
            said = "of another machine that option is not given"
            raise _refused(
                f"run `pellucid {name}` with {_spelled(commands[name], option)} there",
                said,
                f"pellucid {name} without it",
            )
    _allowed(name, rule, given, scopes)
    _placed(name, rule, rest)
    return _plan(commands[name], name, rule, given, rest)


def _parsed(command: click.Command, name: str, words: list[str]) -> tuple[dict[str, object], list[str]]:
    """(the options that were given, by the name of their parameter; what stands besides), as click understands them when it runs."""
    options = [one for one in command.params if isinstance(one, click.Option)]
    looked = click.Command(name, params=[*options, click.Argument(["rest"], nargs=-1)], add_help_option=False)
    try:
        context = looked.make_context(name, list(words))
    except click.UsageError as error:
        raise _refused(f"run `pellucid {name}` there", error.format_message(), f"pellucid {name} --help") from None
    given = {
        str(one.name): context.params[str(one.name)]
        for one in options
        if context.get_parameter_source(str(one.name)) is ParameterSource.COMMANDLINE
    }
    return given, list(context.params["rest"])


def _allowed(name: str, rule: Rule, given: Mapping[str, object], scopes: frozenset[str]) -> None:
    needed = {rule.options[option] for option in given} - {""}
    if rule.scope and rule.sparing not in given:
        needed.add(rule.scope)
    for scope in sorted(needed - scopes):
        what = "stops the process or makes it work" if scope == "pause" else "shows what the process holds"
        remedy = f"pellucid agent --allow {scope}  (where the agent is started)"
        if rule.sparing and scope == rule.scope:
            remedy = f"pellucid {name} --{rule.sparing.replace('_', '-')}, or there: pellucid agent --allow {scope}"
        raise _refused(
            f"run `pellucid {name}` there", f"it {what}, and the agent was not started with that scope", remedy
        )


def _placed(name: str, rule: Rule, rest: list[str]) -> None:
    if rule.after == INCIDENT:
        if rest in ([], ["list"]) or (len(rest) == 2 and rest[0] == "show"):
            return  # which names are those of incidents, serve.incidents judges
        raise _refused(
            f"run `pellucid {name}` there", "it is asked by `show ID`, or for the list", "pellucid incidents"
        )
    most = {PID: 1, PIDS: 64, NAME: 1, PATH: 1, NONE: 0}[rule.after]
    least = 1 if rule.after in (PID, PIDS) else 0
    if not least <= len(rest) <= most:
        said = f"it takes {'one process' if most == 1 else 'no process' if most == 0 else f'1 to {most} processes'}, not {len(rest)}"
        raise _refused(f"run `pellucid {name}` there", said, f"pellucid {name} --help")
    for word in rest:
        if name in BY_NUMBER and not (word.isascii() and word.isdigit()):
            said = f"{word!r} may be a file of that machine, which an agent does not read for others"
            raise _refused(
                f"run `pellucid {name}` there",
                said,
                f"pellucid {name} PID --host NAME  (pellucid ps --host NAME lists them)",
            )


def _plan(command: click.Command, name: str, rule: Rule, given: Mapping[str, object], rest: list[str]) -> Plan:
    words, written, flag = [name], "", ""
    for option in command.params:
        if not isinstance(option, click.Option) or option.name not in given or option.name == "force":
            continue
        value = given[option.name]
        if option.name == rule.file:
            written, flag = str(value), option.opts[-1]
        elif option.is_flag:
            words.append(option.opts[-1] if value else option.secondary_opts[-1])
        else:
            words += [option.opts[-1], str(value)]
    return Plan((*words, *rest), written, flag)


def _spelled(command: click.Command, option: str) -> str:
    return next((one.opts[-1] for one in command.params if one.name == option), option)


def _refused(tried: str, said: str, remedy: str) -> UsageError:
    return UsageError(tried=tried, said=said, remedy=remedy)
