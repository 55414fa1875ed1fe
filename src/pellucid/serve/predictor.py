"""The one thread that predicts, and the batches that it takes: what arrives while a prediction goes on is the next batch.

    client → submit → queue → predict thread, which takes a batch when it is free → deliver → client

Clients that got their answers together ask again together, a little one after the other: a batch that was taken at the first of them would hold one
request, and all others would wait for it. So the thread takes as many as it took last time, or what has come after a part of the time that a
prediction takes. Who asks alone never waits.
A batch is only made of several requests where the model was proved to judge each row by itself (`Model.batches`). A request is never split. A
batch that fails is predicted again request by request, so that a poisoned one fails alone. A request is dropped unpredicted when its deadline
has passed or its client was told already.
"""

import asyncio
import queue
import threading
import time
import traceback
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec import Struct

from pellucid.serve import processes, slots
from pellucid.serve.log import Pipe, Record
from pellucid.serve.package import Model
from pellucid.serve.slots import Slot

if TYPE_CHECKING:
    from pellucid.serve.telemetry.traces import Trace, Traces

SHARE = 0.25
"""Of the time that a prediction takes, for which one waits until as many requests have come as last time, once those have their answers."""
LONGEST_S = 0.005
"""But never longer: those who ask again together do so at once."""


class Full(Exception):  # noqa: N818  an answer to a client: 503
    """As many requests wait as may; there will be room in `retry_s`, by the length of the queue and the pace of the last batches."""

    def __init__(self, retry_s: int) -> None:
        super().__init__(retry_s)
        self.retry_s = retry_s


class ModelFailed(Exception):  # noqa: N818  an answer to a client: 500
    """The pipeline raised."""


class Limits(NamedTuple):
    """`queue`: requests that may wait; `batch`: rows in one prediction of several requests (one request may have more)."""

    queue: int
    batch: int


class Work:
    """One request on its way. `gone`: its client was answered already, nothing is owed any more."""

    __slots__ = ("deadline", "future", "gone", "number", "records", "trace", "within_s")

    def __init__(
        self, number: int, records: list[Struct], future: "asyncio.Future[list[Any]]", deadline: float, within_s: float
    ) -> None:
        self.number = number
        self.records = records
        self.future = future
        self.deadline = deadline
        self.within_s = within_s
        self.gone = False
        self.trace: Trace | None = None


Answers = list[list[Any] | ModelFailed]
"""One a request, in their order."""


class Predictor:
    """Made and used on the event loop; `_run` and what it calls is the predict thread."""

    def __init__(self, model: Model, slot: Slot, log: Pipe, limits: Limits) -> None:
        self.model = model
        self.slot = slot
        self.log = log
        self.limits = limits
        self.traces: Traces | None = None
        self.waiting: dict[int, Work] = {}
        """In the order of their arrival; those in the thread are among them."""
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._pace_s = 0.0
        """Seconds a request of the last batches."""
        self._took_s = 0.0
        """Seconds a prediction, of the last ones."""
        self._last = 1
        """Requests in the last batch."""
        self._left_over: Work | None = None
        """It did not fit into the last batch."""
        self._answering = False
        """The last batch is on its way to its clients, who can't have asked again."""
        self._wanted = 0
        """The thread waits until so many requests are in the queue; 0 while it does not wait."""
        self._wake = threading.Lock()
        """Released to wake it."""
        self._wake.acquire()
        self._thread = threading.Thread(target=self._run, name="predict", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread after what it has begun, if it ends within a second; the process is about to exit."""
        self._queue.put(None)
        self._thread.join(1.0)

    def submit(
        self, records: list[Struct], within_s: float, number: int | None = None, trace: "Trace | None" = None
    ) -> Work:
        """Queue one request; `work.future` will have a label a record, or ModelFailed. Raises Full."""
        if len(self.waiting) >= self.limits.queue and number is None:
            raise Full(max(1, round(len(self.waiting) * self._pace_s)))
        number = self.slot.next_request() if number is None else number
        work = Work(number, records, self._loop.create_future(), time.monotonic() + within_s, within_s)
        self.waiting[work.number] = work
        if trace is not None:
            work.trace = trace
            trace.queued(work)
        self._queue.put(work)
        if self._wanted and self._queue.qsize() >= self._wanted:
            self._go_on()
        return work

    def overdue(self, now: float) -> list[Work]:
        """Those whose deadline has passed, taken out: their clients get told, and they are not predicted any more."""
        return self._forget([work for work in self.waiting.values() if work.deadline <= now])

    def all_of_them(self) -> list[Work]:
        """Everything that waits, taken out."""
        return self._forget(list(self.waiting.values()))

    def _forget(self, works: list[Work]) -> list[Work]:
        for work in works:
            work.gone = True
            del self.waiting[work.number]
        return works

    def _deliver(self, works: list[Work], answers: Answers, took_s: float) -> None:
        each_s = took_s / len(works)
        self._pace_s += 0.1 * (each_s - self._pace_s) if self._pace_s else each_s
        for work, answer in zip(works, answers, strict=True):
            if self.waiting.get(work.number) is work:
                del self.waiting[work.number]
            if work.future.done():
                continue
            if isinstance(answer, list):
                work.future.set_result(answer)
            else:
                work.future.set_exception(answer)
        self._loop.call_soon(self._answered)  # after all that the futures have put there

    def _answered(self) -> None:
        self._answering = False
        if self._wanted:
            self._go_on()

    def _go_on(self) -> None:
        self._wanted = 0
        if self._wake.locked():
            self._wake.release()

    def _run(self) -> None:
        processes.name_thread("predict")
        self.slot.predict_thread(threading.get_native_id())
        while (works := self._take()) is not None:
            if not works:
                continue
            if self.traces is not None:
                self.traces.begins(works)
            began = time.monotonic()
            answers = self._predict(works)
            took_s = time.monotonic() - began
            if self.traces is not None:
                self.traces.predicted(works, began, took_s)
            self._took_s += 0.1 * (took_s - self._took_s)
            self._answering = True
            self._loop.call_soon_threadsafe(self._deliver, works, answers, took_s)

    def _take(self) -> list[Work] | None:
        """The longest run of requests at the head of the queue that may be predicted together; None at the end. The sample is always alone."""
        work, self._left_over = self._left_over or self._queue.get(), None
        if work is None:
            return None
        self._let_others_come()
        now = time.monotonic()
        batch: list[Work] = []
        rows = 0
        while work is not None:
            alone = work.number == slots.SAMPLE or not self.model.batches
            if work.gone or work.deadline <= now:  # the pulse tells its client, or has
                self.slot.expired()
            elif batch and (alone or rows + len(work.records) > self.limits.batch):
                self._left_over = work
                break
            else:
                batch.append(work)
                rows += len(work.records)
                if alone:
                    break
            work = self._at_hand()
        self._last = len(batch)
        return batch

    def _let_others_come(self) -> None:
        """The first one is out of the queue already. To be woken when all are there costs less than to look for them again and again: each look
        takes the GIL from the thread that answers.
        """
        if not self.model.batches:
            return
        answering, more = self._answering, self._last - 1
        now = time.monotonic()
        until = now + (LONGEST_S if answering else min(LONGEST_S, SHARE * self._took_s))
        while now < until:
            self._wake.acquire(blocking=False)
            self._wanted = more
            if self._queue.qsize() >= more:
                break
            self._wake.acquire(timeout=until - now)
            now = time.monotonic()
            if answering and not self._answering:
                answering, until = False, now + min(LONGEST_S, SHARE * self._took_s)
        self._wanted = 0

    def _at_hand(self) -> Work | None:
        try:
            work = self._queue.get_nowait()
        except queue.Empty:
            return None
        if work is None:
            self._queue.put(None)  # the end comes after this batch
        return work

    def _predict(self, works: list[Work]) -> Answers:
        if len(works) == 1:
            return [self._alone(works[0])]
        records = [record for work in works for record in work.records]
        self.slot.predicting(works[0].number, len(records), len(works))
        try:
            labels = iter(self.model.predict(records))
        except BaseException:  # noqa: BLE001  one of them is poisoned: which, is found out one by one
            self.slot.predicted(0, ok=False)
            return [self._alone(work) for work in works]
        self.slot.predicted(len(records), ok=True)
        return [[label for _, label in zip(work.records, labels, strict=False)] for work in works]

    def _alone(self, work: Work) -> "list[Any] | ModelFailed":
        self.slot.predicting(work.number, len(work.records), 1)
        answer: list[Any] | ModelFailed
        try:
            answer = self.model.predict(work.records)
        except BaseException as error:  # noqa: BLE001  whatever a model raises, SystemExit too, is an answer; the thread must live
            answer = self._failed(work, error)
        self.slot.predicted(len(work.records), ok=isinstance(answer, list))
        return answer

    def _failed(self, work: Work, error: BaseException) -> ModelFailed:
        said = f"{type(error).__name__}: {error}"
        number = slots.request_id(self.slot.number, work.number)
        self.slot.say("error", said)
        if work.trace is not None:
            work.trace.error = type(error).__name__
        self.log.write(
            Record(
                level="error",
                event="model_failed",
                sentence=f"the model raised {said} in request {number}",
                worker=self.slot.number,
                request=number,
                trace_id=work.trace.id.hex() if work.trace is not None else "",
                trace="".join(traceback.format_exception(error)),
            )
        )
        return ModelFailed(said)
