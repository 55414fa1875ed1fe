"""The one thread that predicts. Requests wait in its queue, so that the event loop is free to beat, to refuse, to tell a deadline, while a
prediction goes on or hangs.

`_take` decides what is predicted together: one request. A request is dropped unpredicted when its client was told already.
"""

import asyncio
import queue
import threading
import time
import traceback
from typing import Any

from msgspec import Struct

from pellucid.serve import processes, slots
from pellucid.serve.log import Pipe, Record
from pellucid.serve.package import Model
from pellucid.serve.slots import Slot


class Full(Exception):  # noqa: N818  an answer to a client: 503
    """As many requests wait as may; one will be done in `retry_s`."""

    def __init__(self, retry_s: int) -> None:
        super().__init__(retry_s)
        self.retry_s = retry_s


class ModelFailed(Exception):  # noqa: N818  an answer to a client: 500
    """The pipeline raised."""


class Work:
    """One request on its way. `gone`: its client was answered already, nothing is owed any more."""

    __slots__ = ("arrived", "future", "gone", "number", "records")

    def __init__(self, number: int, records: list[Struct], future: "asyncio.Future[list[Any]]") -> None:
        self.number = number
        self.records = records
        self.future = future
        self.arrived = time.monotonic()
        self.gone = False


class Predictor:
    """Made and used on the event loop; `_run` and what it calls is the predict thread."""

    def __init__(self, model: Model, slot: Slot, log: Pipe, most: int) -> None:
        self.model = model
        self.slot = slot
        self.log = log
        self.most = most
        self.waiting: dict[int, Work] = {}
        """In the order of their arrival; the one in the thread is among them."""
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._pace_s = 0.0
        self._thread = threading.Thread(target=self._run, name="predict", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread after what it has begun, if it ends within a second; the process is about to exit."""
        self._queue.put(None)
        self._thread.join(1.0)

    def submit(self, records: list[Struct], number: int | None = None) -> Work:
        """Queue one request; `work.future` will have a label a record, or ModelFailed. Raises Full."""
        if len(self.waiting) >= self.most and number is None:
            raise Full(max(1, round(len(self.waiting) * self._pace_s)))
        work = Work(self.slot.next_request() if number is None else number, records, self._loop.create_future())
        self.waiting[work.number] = work
        self._queue.put(work)
        return work

    def overdue(self, before: float) -> list[Work]:
        """Those that arrived before this moment, taken out: their clients get told, and they are no longer predicted."""
        late = []
        for work in self.waiting.values():
            if work.arrived >= before:
                break
            late.append(work)
        for work in late:
            self.forget(work)
        return late

    def forget(self, work: Work) -> None:
        work.gone = True
        self.waiting.pop(work.number, None)

    def _run(self) -> None:
        processes.name_thread("predict")
        self.slot.predict_thread(threading.get_native_id())
        while works := self._take():
            self._predict(works)

    def _take(self) -> list[Work]:
        """What is predicted together; empty when the thread shall end."""
        while (work := self._queue.get()) is not None:
            if not work.gone:
                return [work]
            self.slot.expired()
        return []

    def _predict(self, works: list[Work]) -> None:
        records = [record for work in works for record in work.records]
        self.slot.predicting(works[0].number, len(records))
        began = time.monotonic()
        answer: list[Any] | ModelFailed
        try:
            answer = self.model.predict(records)
        except BaseException as error:  # noqa: BLE001  whatever a model raises, SystemExit too, is an answer; the thread must live
            answer = self._failed(works, error)
        self.slot.predicted(len(records), ok=isinstance(answer, list))
        self._pace_s += 0.1 * (time.monotonic() - began - self._pace_s)
        self._loop.call_soon_threadsafe(self._deliver, works, answer)

    def _failed(self, works: list[Work], error: BaseException) -> ModelFailed:
        said = f"{type(error).__name__}: {error}"
        number = slots.request_id(self.slot.number, works[0].number)
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

    def _deliver(self, works: list[Work], answer: list[Any] | ModelFailed) -> None:
        begin = 0
        for work in works:
            self.waiting.pop(work.number, None)
            end = begin + len(work.records)
            if not work.future.done():
                if isinstance(answer, list):
                    work.future.set_result(answer[begin:end])
                else:
                    work.future.set_exception(answer)
            begin = end
