"""The one thread that predicts, and the batches that it is given. No timer: what arrives while a prediction goes on is the next batch.

    client → submit → queue → (a few turns of the loop) → batch → predict thread → deliver → client

A batch is only made of several requests where the model was proved to judge each row by itself (`Model.batches`). A request is never split. A
batch that fails is predicted again request by request, so that a poisoned one fails alone. A request is dropped unpredicted when its deadline
has passed or its client was told already.
"""

import asyncio
import queue
import threading
import time
import traceback
from collections import deque
from typing import Any, NamedTuple

from msgspec import Struct

from pellucid.serve import processes, slots
from pellucid.serve.log import Pipe, Record
from pellucid.serve.package import Model
from pellucid.serve.slots import Slot

TURNS = 4
"""Turns of the event loop from the first request to its batch: an HTTP request needs several from socket to queue, and a batch made at
once would hold one request."""


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

    __slots__ = ("deadline", "future", "gone", "number", "records", "within_s")

    def __init__(
        self, number: int, records: list[Struct], future: "asyncio.Future[list[Any]]", deadline: float, within_s: float
    ) -> None:
        self.number = number
        self.records = records
        self.future = future
        self.deadline = deadline
        self.within_s = within_s
        self.gone = False


Answers = list[list[Any] | ModelFailed]
"""One a request, in their order."""


class Predictor:
    """Made and used on the event loop; `_run` and what it calls is the predict thread."""

    def __init__(self, model: Model, slot: Slot, log: Pipe, limits: Limits) -> None:
        self.model = model
        self.slot = slot
        self.log = log
        self.limits = limits
        self.waiting: dict[int, Work] = {}
        """In the order of their arrival; those in the thread are among them."""
        self._loop = asyncio.get_running_loop()
        self._queue: deque[Work] = deque()
        self._busy = False
        """A batch is in the thread, or is about to be made."""
        self._batches: queue.SimpleQueue[list[Work] | None] = queue.SimpleQueue()
        self._pace_s = 0.0
        """Seconds a request of the last batches."""
        self._thread = threading.Thread(target=self._run, name="predict", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread after what it has begun, if it ends within a second; the process is about to exit."""
        self._batches.put(None)
        self._thread.join(1.0)

    def submit(self, records: list[Struct], within_s: float, number: int | None = None) -> Work:
        """Queue one request; `work.future` will have a label a record, or ModelFailed. Raises Full."""
        if len(self.waiting) >= self.limits.queue and number is None:
            raise Full(max(1, round(len(self.waiting) * self._pace_s)))
        number = self.slot.next_request() if number is None else number
        work = Work(number, records, self._loop.create_future(), time.monotonic() + within_s, within_s)
        self.waiting[work.number] = work
        self._queue.append(work)
        if not self._busy:
            self._busy = True
            self._turn(TURNS)
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

    def _turn(self, left: int) -> None:
        if left:
            self._loop.call_soon(self._turn, left - 1)
            return
        works = self._next()
        self._busy = bool(works)
        if works:
            self._batches.put(works)

    def _next(self) -> list[Work]:
        """The longest run of requests at the head of the queue that may be predicted together. The sample is always alone."""
        now = time.monotonic()
        batch: list[Work] = []
        rows = 0
        while self._queue:
            work = self._queue[0]
            if work.gone or work.deadline <= now:  # the pulse tells its client, or has
                self._queue.popleft()
                self.slot.expired()
                continue
            rows += len(work.records)
            if batch and (rows > self.limits.batch or work.number == slots.SAMPLE):
                break
            batch.append(self._queue.popleft())
            if not self.model.batches or work.number == slots.SAMPLE:
                break
        return batch

    def _deliver(self, works: list[Work], answers: Answers, took_s: float) -> None:
        self._pace_s += 0.1 * (took_s / len(works) - self._pace_s)
        for work, answer in zip(works, answers, strict=True):
            if self.waiting.get(work.number) is work:
                del self.waiting[work.number]
            if work.future.done():
                continue
            if isinstance(answer, list):
                work.future.set_result(answer)
            else:
                work.future.set_exception(answer)
        if self._queue:
            self._turn(TURNS)
        else:
            self._busy = False

    def _run(self) -> None:
        processes.name_thread("predict")
        self.slot.predict_thread(threading.get_native_id())
        while (works := self._batches.get()) is not None:
            began = time.monotonic()
            answers = self._predict(works)
            self._loop.call_soon_threadsafe(self._deliver, works, answers, time.monotonic() - began)

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
        self.log.write(
            Record(
                level="error",
                event="model_failed",
                sentence=f"the model raised {said} in request {number}",
                worker=self.slot.number,
                request=number,
                trace="".join(traceback.format_exception(error)),
            )
        )
        return ModelFailed(said)
