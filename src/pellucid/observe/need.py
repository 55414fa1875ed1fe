"""What a wait needs in order to end."""

from msgspec import Struct

from pellucid.model.finding import Confidence
from pellucid.model.graph import Mode, Waker


class Need(Struct, frozen=True):
    """As the fields of `model.graph.Node`: `fate` says why nothing can end it, `rule` is the rule that says so."""

    mode: Mode
    wakers: tuple[Waker, ...] = ()
    fate: str = ""
    rule: str = ""
    confidence: Confidence = "certain"
    """Of the fate."""


LIVE = Need("live")
"""It ends by itself, or whoever could end it is not among those that are seen."""


def all_of(*wakers: Waker) -> Need:
    """Each of them has to go on first."""
    return Need("and", wakers)


def any_of(*wakers: Waker) -> Need:
    """One of them is enough."""
    return Need("or", wakers)


def nothing(fate: str, rule: str, confidence: Confidence = "certain") -> Need:
    """What would end it no longer exists."""
    return Need("dead", (), fate, rule, confidence)
