"""What grows in a worker, before it is recycled: the sentence that its incident keeps.

A worker that grows is about to end anyway, so that it may be paused for the copies of its heap: then nothing moves while they are taken, and
who holds what is exact. It stands still for some 10 ms a million objects, twice; its requests wait for so long.
"""

from pellucid.model.errors import PellucidError

SECONDS = 2.0
"""Between the two looks."""


def what_grows(pid: int, seconds: float = SECONDS, *, pause: bool = True) -> str:
    """One or two sentences about process `pid`, after some more than `seconds`. Never raises for what it could not see: that is the sentence."""
    from pellucid.diagnose.growing import in_words
    from pellucid.observe import growing

    try:
        found = growing.what_grows(pid, seconds, pause=pause, command="heap")
    except PellucidError as error:
        return f"what grows could not be looked at: {error.said}"
    paused = f" (it was paused for {1000 * found.paused_s:.0f} ms)" if found.paused_s else ""
    return in_words(found) + paused
