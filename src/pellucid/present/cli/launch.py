"""What the commands that take `PID | -- CMD [ARGUMENTS]` share: the words after `--`, and Ctrl-C that ends the look and not the report."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import click

_LAUNCH = "pellucid.launch"


class WithCommand(click.Command):
    """A command whose line may end in `-- CMD ARGUMENTS`, which belong to CMD whatever they look like."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--" in args:
            at = args.index("--")
            ctx.meta[_LAUNCH] = tuple(args[at + 1 :])
            args = args[:at]
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        return ["[OPTIONS]", "PID | -- CMD [ARGUMENTS]"]


def launched(ctx: click.Context) -> tuple[str, ...] | None:
    """The words after `--`, None where there was none."""
    found: tuple[str, ...] | None = ctx.meta.get(_LAUNCH)
    return found


@contextmanager
def interruptions(*, again: bool = False) -> Iterator[Callable[[], bool]]:
    """While inside, Ctrl-C and SIGTERM only end the look, whose report is still printed; what is ignored stays so.

    With `again`, a second one is a KeyboardInterrupt: for a look that may be stuck in what it writes.
    """
    seen: list[int] = []

    def asked(number: int, _: FrameType | None) -> None:
        if seen and again:
            raise KeyboardInterrupt
        seen.append(number)

    before = {
        number: signal.signal(number, asked)
        for number in (signal.SIGINT, signal.SIGTERM)
        if signal.getsignal(number) != signal.SIG_IGN
    }
    try:
        yield lambda: bool(seen)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
