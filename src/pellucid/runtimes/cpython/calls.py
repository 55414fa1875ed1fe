"""Who calls whom at which instruction, as stacks have proved it: what a stack that moves is judged by.

A sample has the frames of a thread that goes on running as they were within a microsecond after its state (`copies`). By then the thread
may have returned from its innermost call, or be about to make the next one, so that a caller stands some instructions behind the call.
The call that it was in is the last one before that, of those where it is known to call this callee. A caller that is never known to call it
belongs to another moment.
"""

from bisect import bisect_right, insort
from typing import Final

from pellucid.runtimes.cpython.codes import Code

MAX_TRIES = 3000
"""Proofs of a call that are tried, where no call of this callee by this caller is known."""
MAX_MORE = 3
"""... where another is: a caller that has gone on is not at a call, and is tried in vain."""
MAX_TRIED = 1 << 14

ROOT: Final = None
"""Calls the outermost frame of a stack."""


class Calls:
    """Those of one process."""

    __slots__ = ("_proofs", "_sites", "_tried")

    def __init__(self) -> None:
        self._sites: dict[tuple[Code | None, Code | None], list[int]] = {}
        """(caller, callee) → the code units of the caller at which it calls it, in order."""
        self._proofs: dict[tuple[Code | None, int, Code], int] = {}
        """Of calls that are not known yet. Where a thread has come back to where it was, one may be wrong, and would vouch for others for ever."""
        self._tried: dict[tuple[Code | None, int, Code | None], int] = {}

    def learn(self, caller: Code | None, unit: int, callee: Code, enough: int) -> bool:
        """By one proof; returns whether it is known, as it is by so many that are `enough`."""
        sites = self._sites.get((caller, callee))
        if sites is not None and unit in sites:
            return True
        call = (caller, unit, callee)
        proofs = self._proofs.pop(call, 0) + 1
        if proofs < enough:
            self._proofs[call] = proofs
            return False
        self.know(caller, unit, callee)
        return True

    def know(self, caller: Code | None, unit: int, callee: Code) -> None:
        """For sure; it is not known yet."""
        insort(self._sites.setdefault((caller, callee), []), unit)

    def site(self, caller: Code | None, unit: int, callee: Code) -> int | None:
        """Where `caller`, which is at `unit`, called `callee`: there, or at the last known place before; None where it is not known to."""
        sites = self._sites.get((caller, callee))
        if not sites:
            return None
        return sites[bisect_right(sites, unit) - 1]  # before all of them: it has gone back to the begin of a loop

    def worth_a_try(self, caller: Code | None, unit: int, callee: Code | None) -> bool:
        """Whether to try to prove this call; counts the tries."""
        key = (caller, unit, callee)
        tries = self._tried.get(key, 0)
        if tries >= (MAX_MORE if (caller, callee) in self._sites else MAX_TRIES):
            return False
        if len(self._tried) >= MAX_TRIED:
            self._tried.clear()
        self._tried[key] = tries + 1
        return True
