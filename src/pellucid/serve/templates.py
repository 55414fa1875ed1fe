"""The processes that load a version of the model and fork its workers (`template.py`), as the supervisor sees them.

There is the one that forks now, and during a reload a second one that loads the next version beside it.
"""

import contextlib
import os
import selectors
import socket
import sys
import time
from collections.abc import Callable

from msgspec.structs import replace

from pellucid.serve import control, events, processes
from pellucid.serve.children import Children
from pellucid.serve.events import Trouble
from pellucid.serve.log import Record, Screen
from pellucid.serve.options import Options

ONE_THREAD = dict.fromkeys(
    (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "BLIS_NUM_THREADS",
        "NUMEXPR_NUM_THREADS",
        "ORT_DISABLE_TELEMETRY",  # onnxruntime starts a thread for it
    ),
    "1",
)
"""A pool of threads in each worker would fight for the cores, and a template with threads can't be forked."""


class Template:
    """A process that loads a version, or has loaded it. `end`: our end of its socket, None once it has hung up."""

    def __init__(self, pid: int, end: socket.socket) -> None:
        self.pid = pid
        self.end: socket.socket | None = end
        self.trouble: Trouble | None = None


class Templates:
    """What they say is told to `learn`; a worker that one has forked is given to `adopt` before that, as (slot, pid)."""

    def __init__(
        self,
        selector: selectors.BaseSelector,
        children: Children,
        options: Options,
        learn: Callable[[events.Event], None],
        adopt: Callable[[int, int], None],
        screen: Screen,
    ) -> None:
        self._selector = selector
        self._children = children
        self._options = options
        self._learn = learn
        self._adopt = adopt
        self._screen = screen
        self._now: Template | None = None
        self._next: Template | None = None

    def start(self, version: int, *, as_next: bool) -> None:
        """Start a fresh interpreter that loads this version; `as_next`: beside the one that forks now."""
        ours, theirs = control.pair()
        options = replace(self._options, model=f"{self._options.model.partition(':')[0]}:{version}")
        keep = [
            theirs.fileno(),
            *(fd for fd in (options.listener, options.slots, options.log, options.spans) if fd >= 0),
        ]
        command = [sys.executable, "-P", "-m", "pellucid.serve.template", str(theirs.fileno())]
        template = Template(processes.spawn(command, {**os.environ, **ONE_THREAD}, keep), ours)
        theirs.close()
        if as_next:
            self._next = template
        else:
            self._now = template
        self._selector.register(ours, selectors.EVENT_READ, lambda: self._read(template))
        self._children.watch(template.pid, lambda: self._ended(template))
        _send(template, control.Begin(options))

    def swap(self) -> None:
        """The next template forks from now on; the one before has nothing to do any more."""
        before, self._now, self._next = self._now, self._next, None
        if before is not None:
            self._children.kill(before.pid)

    def kill(self) -> None:
        if self._now is not None:
            self._children.kill(self._now.pid)

    def kill_next(self) -> None:
        if self._next is not None:
            self._children.kill(self._next.pid)

    def order(self, order: control.ToTemplate) -> None:
        """Tell it to the one that forks now."""
        if self._now is not None:
            _send(self._now, order)

    def _read(self, template: Template) -> None:
        assert template.end is not None
        try:
            told = control.report(template.end)
        except BlockingIOError:
            return
        except OSError:
            told = None
        now = time.monotonic()
        match told:
            case None:
                self._hang_up(template)
            case control.Loaded(note, how):
                if note:
                    self._screen.tell(Record(level="warning", event="drift", sentence=note))
                self._learn(events.TemplateReady(now, template.pid, how, next=template is self._next))
            case control.Refused(trouble):
                template.trouble = trouble
            case control.Born(slot, generation, pid):
                self._adopt(slot, pid)
                self._learn(events.Forked(now, slot, generation, pid))
            case control.Unborn(slot, generation, said):
                self._learn(events.ForkFailed(now, slot, generation, said))

    def _hang_up(self, template: Template) -> None:
        if template.end is not None:
            self._selector.unregister(template.end)
            template.end.close()
            template.end = None

    def _ended(self, template: Template) -> None:
        while template.end is not None:  # what it said last: a refusal, or a worker that it forked
            before = template.end
            self._read(template)
            if template.end is before and not _readable(before):
                break
        death = self._children.reap(template.pid)
        self._hang_up(template)
        how = f"{'was ' if death.signal else ''}{death}"
        if template is self._next:
            self._next = None
            self._learn(events.TemplateEnded(time.monotonic(), template.pid, how, template.trouble, next=True))
        elif template is self._now:
            self._now = None
            self._learn(events.TemplateEnded(time.monotonic(), template.pid, how, template.trouble))


def _send(template: Template, order: control.ToTemplate) -> None:
    if template.end is not None:
        with contextlib.suppress(OSError):  # it is gone: its pidfd tells the rest
            control.send(template.end, order)


def _readable(end: socket.socket) -> bool:
    with contextlib.suppress(BlockingIOError, OSError):
        end.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        return True
    return False
