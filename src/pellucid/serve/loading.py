"""Which version is loaded, which one is being loaded beside it, and what comes of a template that fails, hangs or ends. Values in, values out.

A template loads a version and forks its workers. A reload loads the next version in a template beside the one that forks now, and that one takes
its place once it is ready. A template that ends is started again, at once for the first time and then ever later.
"""

from pellucid.serve.events import (
    Exit,
    Instruction,
    KillNext,
    KillTemplate,
    Reload,
    Say,
    StartTemplate,
    Swap,
    TemplateEnded,
    TemplateReady,
    Trouble,
)
from pellucid.serve.supervised import Limits


class Loading:
    """A part of `state.Supervision`, which alone calls it; instructions go to its list `out`."""

    def __init__(self, limits: Limits, out: list[Instruction], now: float) -> None:
        self.limits = limits
        self.version = limits.version
        """The one that serves."""
        self.edition = 0
        """Counted up at each version that has taken the place of another."""
        self.template: int | None = None
        """The pid of the one that can fork."""
        self.ever_ready = False
        self._out = out
        self._since = now
        self._started = True
        self._failures = 0
        self._not_before = now
        self._next: int | None = None
        """The version that another template loads, beside the one that forks now."""
        self._next_since = now
        out.append(StartTemplate(self.version))

    def reload(self, event: Reload) -> None:
        """Load the wanted version beside the one that serves. What is loading already and no longer wanted ends."""
        if not self.ever_ready:
            return
        if self._next is not None:
            self._out.append(KillNext())
        self._next = event.version
        self._next_since = event.now
        said = f"{self.limits.model} version {event.version} is being loaded beside version {self.version}"
        self._out += (Say("info", "reload", said), StartTemplate(event.version, next=True))

    def ready(self, event: TemplateReady) -> None:
        """`edition` tells whether it took the place of another."""
        if event.next:
            self._take_over(event)
        else:
            self.template = event.pid
        self._failures = 0
        self.ever_ready = True
        said = f"the model {self.limits.model} version {self.version} is loaded"
        said += f"; {event.how}" if event.how else ""
        self._out.append(Say("info", "template_ready", said, pid=event.pid))

    def _take_over(self, event: TemplateReady) -> None:
        assert self._next is not None
        self.version, self._next = self._next, None
        self.edition += 1
        self.template = event.pid
        self._started = True
        self._out.append(Swap())

    def ended(self, event: TemplateEnded, *, stopping: bool) -> bool:
        """False where nothing was ever served and so nothing can be: the whole server ends."""
        if event.next:
            self._next_ended(event, stopping=stopping)
            return True
        self.template = None
        self._started = False
        if stopping:
            return True
        if not self.ever_ready:
            trouble = event.trouble or Trouble(
                tried=f"load the model {self.limits.model} version {self.version}",
                said=f"the process that loads it {event.how}",
                remedy="what it printed above says more",
            )
            self._out.append(Exit(2, trouble))
            return False
        self._failures += 1
        wait = min(self.limits.longest_wait_s, 0.25 * 2 ** min(self._failures - 1, 10))
        self._not_before = event.now + (0.0 if self._failures == 1 else wait)
        why = f"{event.how}: {event.trouble.said}" if event.trouble else event.how
        said = f"the template (pid {event.pid}) {why}; the workers go on, and another is started"
        self._out.append(Say("warning", "template_ended", said, pid=event.pid))
        return True

    def _next_ended(self, event: TemplateEnded, *, stopping: bool) -> None:
        version, self._next = self._next, None
        if stopping or version is None:
            return
        why = event.trouble.said if event.trouble else f"the process that loads it {event.how}"
        said = f"version {version} can't be served: {why}; version {self.version} goes on"
        self._out.append(Say("error", "reload_failed", said, pid=event.pid))

    def end_slow(self, now: float, resumed: float) -> None:
        """End those that have not loaded in time: they hang, or somebody stopped them. `resumed`: when the supervisor itself stood still last."""
        within = self.limits.template_start_s
        if self.template is None and self._started and now - max(self._since, resumed) >= within:
            self._out += (
                Say("error", "template_slow", f"the model did not load within {within:g} s"),
                KillTemplate(),
            )
            self._since = now
        if self._next is not None and now - max(self._next_since, resumed) >= within:
            self._out.append(KillNext())
            self._next_since = now

    def end_stuck(self) -> None:
        """It was told to fork, and did not."""
        said = f"the template (pid {self.template}) did not fork within {self.limits.fork_s:g} s: it is killed"
        self._out += (Say("error", "template_stuck", said, pid=self.template), KillTemplate())
        self.template = None

    def start_again(self, now: float) -> None:
        """If there is none, and it is time."""
        if not self._started and now >= self._not_before:
            self._started = True
            self._since = now
            self._out.append(StartTemplate(self.version))

    def stop(self) -> None:
        self._out.append(KillTemplate())
        if self._next is not None:
            self._out.append(KillNext())

    def stopped(self) -> bool:
        return not self._started and self._next is None
