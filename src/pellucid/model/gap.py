"""What could not be seen. A gap travels with the observation to the screen; it is never swallowed."""

from msgspec import Struct


class Gap(Struct, frozen=True):
    """`what` could not be seen, `why`, and the one `remedy` ("" where nothing helps)."""

    what: str
    why: str
    remedy: str = ""
