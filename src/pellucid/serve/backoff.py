"""How soon a worker that died is replaced: at once, unless that would go on and on. Values in, values out.

A worker that had served is replaced at once even if others died just before: until then its place is empty, and each request that somebody repeats
though it kills a worker takes that one only. What bounds the cost is a budget of `BURST` early deaths, which fills up again by one a second.
One that never became ready will hardly do so at the next attempt: from the second one on each waits twice as long as the one before.
"""

from pellucid.serve.supervised import Limits

BURST = 8
REFILL_S = 1.0
FIRST_WAIT_S = 0.25


class Backoff:
    """`not_before` is the moment before which no worker is forked."""

    def __init__(self, limits: Limits, now: float) -> None:
        self.limits = limits
        self.forget(now)

    def forget(self, now: float) -> None:
        """Another version is there: what became of the one before says nothing about it."""
        self.not_before = now
        self._budget = float(BURST)
        self._counted = now
        self._unready = 0
        self._last_unready = now

    def wait(self, now: float, seconds: float) -> None:
        """Fork none for so long."""
        self.not_before = max(self.not_before, now + seconds)

    def died(self, now: float, served_s: float | None) -> str:
        """A worker died that had served for so long, None where it never had. Returns what to say of the wait, "" where there is none."""
        if served_s is None:
            return self._died_unready(now)
        self._unready = 0
        self._budget = min(BURST, self._budget + (now - self._counted) / REFILL_S)
        self._counted = now
        if served_s >= self.limits.quick_s:
            return ""
        self._budget -= 1
        if self._budget >= 0:
            return ""
        wait = -self._budget * REFILL_S
        self.wait(now, wait)
        return f"workers die within {self.limits.quick_s:g} s, one after the other; the next is forked in {wait:.1f} s"

    def _died_unready(self, now: float) -> str:
        if now - self._last_unready >= self.limits.longest_wait_s * 2:
            self._unready = 0
        self._unready += 1
        self._last_unready = now
        if self._unready == 1:
            return ""
        wait = min(self.limits.longest_wait_s, FIRST_WAIT_S * 2 ** min(self._unready - 2, 10))
        self.wait(now, wait)
        return f"{self._unready} workers in a row died before they answered; the next is forked in {wait:g} s"
