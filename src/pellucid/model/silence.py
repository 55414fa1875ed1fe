"""Why a runtime that is asked for something does not answer."""

from typing import Literal

from msgspec import Struct

Why = Literal["stopped", "safepoint", "operation", "collection", "disk", "cpu", "unknown"]


class Silence(Struct, frozen=True):
    """`sentence` is whole, without a full stop. `tid` of the thread that keeps all others waiting, 0 where there is none.

    `since_s`: for how long its threads have stood still, None where that is not known. `lasting`: asking again is vain as long as this goes on.
    """

    why: Why
    sentence: str
    tid: int = 0
    since_s: float | None = None
    lasting: bool = False
