"""What every shape of a request has: it is read into records, and labels are rendered as its answer."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

encode = msgspec.json.Encoder().encode


class Asked(NamedTuple):
    """A request that was understood. `render`: labels, one a record, → the body of the answer."""

    records: list[Any]
    render: Callable[[Sequence[Any]], bytes]


class Form(Protocol):
    route: int
    """Its number in `slots.ROUTES`."""

    def read(self, body: bytes, query: str) -> Asked:
        """Raises BadInput."""

    def status(self, status: int) -> int:
        """The status that this protocol has for a refusal of ours."""

    def refusal(self, detail: Any, more: dict[str, Any]) -> bytes:
        """The body of an answer that is no prediction. `detail`: a sentence, or a tuple of Problems."""


def sentence(detail: Any) -> str:
    """A refusal as one text: `body.inputs.0.data: must be ...; ...`."""
    if isinstance(detail, str):
        return detail
    return "; ".join(f"{'.'.join(map(str, problem.loc))} {problem.msg}" for problem in detail)
