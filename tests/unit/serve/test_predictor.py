"""Which requests are predicted together, and what each of them gets."""

import asyncio
import os
import threading
import time

import msgspec
import pytest

from pellucid.serve import predictor as predictor_module
from pellucid.serve import slots
from pellucid.serve.board import Board
from pellucid.serve.log import Pipe
from pellucid.serve.predictor import Full, Limits, ModelFailed, Predictor


class Row(msgspec.Struct):
    x: int


class Doubling:
    """Labels are doubled numbers; a batch that holds 13 fails; `gate` holds predictions up."""

    def __init__(self, *, batches=True):
        self.batches = batches
        self.calls = []
        self.gate = threading.Event()
        self.gate.set()

    def predict(self, records):
        self.calls.append([record.x for record in records])
        self.gate.wait(10)
        if any(record.x == 13 for record in records):
            raise ValueError("13 is poison")
        return [record.x * 2 for record in records]


LIMITS = Limits(queue=100, batch=10)


def run(story, model, limits=LIMITS):
    async def main():
        board = Board.new(1)
        reading, writing = os.pipe()
        predictor = Predictor(model, board.slots[0], Pipe(writing, board.slots[0].dropped), limits)
        predictor.start()
        try:
            await story(predictor, board.slots[0])
        finally:
            model.gate.set()
            predictor.stop()
            os.close(reading)
            os.close(writing)

    asyncio.run(main())


async def behind_a_busy_thread(predictor, model, *requests, within_s=30.0):
    """The works of `requests`, all queued while a first prediction goes on, which then ends."""
    model.gate.clear()
    first = predictor.submit([Row(0)], 30.0)
    while not model.calls:  # noqa: ASYNC110  it is called in another thread
        await asyncio.sleep(0.001)
    works = [predictor.submit([Row(x) for x in rows], within_s) for rows in requests]
    return first, works


def test_what_arrives_during_a_prediction_is_the_next_batch():
    model = Doubling()

    async def story(predictor, slot):
        first, works = await behind_a_busy_thread(predictor, model, [1], [2, 3], [4])
        model.gate.set()
        assert await first.future == [0]
        assert [await work.future for work in works] == [[2], [4, 6], [8]]
        counts = slot.counts()
        assert (counts.predicts, counts.batched, counts.rows) == (2, 4, 5)

    run(story, model)
    assert model.calls == [[0], [1, 2, 3, 4]]


def together(predictor):
    async def client(number):
        await asyncio.sleep(number / 1000)
        return await predictor.submit([Row(number)], 30.0).future

    return asyncio.gather(*map(client, range(5)))


def test_a_batch_waits_for_as_many_as_the_last_one_had(monkeypatch):
    monkeypatch.setattr(predictor_module, "LONGEST_S", 30.0)
    model = Doubling()

    async def story(predictor, slot):
        predictor._last, predictor._took_s = 5, 1000.0
        assert await together(predictor) == [[0], [2], [4], [6], [8]]
        assert slot.counts().predicts == 1

    run(story, model)
    assert model.calls == [[0, 1, 2, 3, 4]]


@pytest.mark.parametrize(("took_s", "waits_s"), [(0.012, 0.003), (1000.0, predictor_module.LONGEST_S)])
def test_it_waits_for_a_part_of_what_a_prediction_takes_and_not_long(took_s, waits_s):
    model = Doubling()

    async def story(predictor, slot):
        predictor._last, predictor._took_s = 5, took_s
        began = time.monotonic()
        assert await predictor.submit([Row(1)], 30.0).future == [2]
        assert time.monotonic() - began >= waits_s
        assert predictor._last == 1, "so the next one does not wait"

    run(story, model)


def test_whoever_is_being_answered_is_waited_for(monkeypatch):
    monkeypatch.setattr(predictor_module, "LONGEST_S", 30.0)
    model = Doubling()

    async def story(predictor, slot):
        predictor._last, predictor._answering = 2, True  # a prediction takes no time: else nobody would be waited for
        first = predictor.submit([Row(1)], 30.0)
        await asyncio.sleep(0.02)
        assert await predictor.submit([Row(2)], 30.0).future == [4]
        assert await first.future == [2]

    run(story, model)
    assert model.calls == [[1, 2]]


def test_once_all_are_answered_it_waits_no_longer(monkeypatch):
    monkeypatch.setattr(predictor_module, "LONGEST_S", 1000.0)
    model = Doubling()

    async def story(predictor, slot):
        predictor._last, predictor._answering = 2, True
        first = predictor.submit([Row(1)], 30.0)
        await asyncio.sleep(0.02)
        predictor._answered()
        assert await asyncio.wait_for(first.future, 30.0) == [2]
        assert not predictor._answering, "its own answers are out too"

    run(story, model)


def test_where_nothing_is_batched_nobody_waits():
    model = Doubling(batches=False)

    async def story(predictor, slot):
        predictor._last, predictor._took_s = 5, 1000.0
        assert await predictor.submit([Row(1)], 30.0).future == [2]

    run(story, model)


def test_a_request_is_never_split_and_rows_are_capped():
    model = Doubling()

    async def story(predictor, slot):
        first, works = await behind_a_busy_thread(predictor, model, [1] * 6, [2] * 6, [3] * 25, [4])
        model.gate.set()
        for work in (first, *works):
            await work.future

    run(story, model)
    assert [len(call) for call in model.calls] == [1, 6, 6, 25, 1]


def test_a_model_whose_rows_depend_on_each_other_gets_one_request_at_a_time():
    model = Doubling(batches=False)

    async def story(predictor, slot):
        first, works = await behind_a_busy_thread(predictor, model, [1], [2, 3])
        model.gate.set()
        for work in (first, *works):
            await work.future

    run(story, model)
    assert model.calls == [[0], [1], [2, 3]]


def test_a_poisoned_request_fails_alone():
    model = Doubling()

    async def story(predictor, slot):
        first, works = await behind_a_busy_thread(predictor, model, [1], [13], [2])
        model.gate.set()
        await first.future
        assert await works[0].future == [2]
        with pytest.raises(ModelFailed, match="ValueError: 13 is poison"):
            await works[1].future
        assert await works[2].future == [4]

    run(story, model)
    assert model.calls == [[0], [1, 13, 2], [1], [13], [2]]


def test_a_client_that_hung_up_disturbs_nobody():
    model = Doubling()

    async def story(predictor, slot):
        first, works = await behind_a_busy_thread(predictor, model, [1], [2], [3])
        works[1].future.cancel()
        model.gate.set()
        assert [await first.future, await works[0].future, await works[2].future] == [[0], [2], [6]]
        assert not predictor.waiting

    run(story, model)


def test_what_is_past_its_deadline_is_not_predicted():
    model = Doubling()

    async def story(predictor, slot):
        _, works = await behind_a_busy_thread(predictor, model, [1], within_s=0.01)
        second = predictor.submit([Row(2)], 30.0)
        await asyncio.sleep(0.02)
        assert predictor.overdue(time.monotonic()) == works
        model.gate.set()
        assert await second.future == [4]
        assert slot.counts().expired == 1

    run(story, model)
    assert model.calls == [[0], [2]]


def test_a_full_queue_says_when_to_come_again():
    model = Doubling()

    async def story(predictor, slot):
        await behind_a_busy_thread(predictor, model, [1], [2])
        with pytest.raises(Full) as full:
            predictor.submit([Row(3)], 30.0)
        assert full.value.retry_s >= 1

    run(story, model, Limits(queue=3, batch=10))


def test_the_sample_is_always_alone():
    model = Doubling()

    async def story(predictor, slot):
        first, works = await behind_a_busy_thread(predictor, model, [1])
        sample = predictor.submit([Row(5)], 30.0, number=slots.SAMPLE)
        last = predictor.submit([Row(2)], 30.0)
        model.gate.set()
        for work in (first, *works, sample, last):
            await work.future

    run(story, model)
    assert model.calls == [[0], [1], [5], [2]]


def test_when_to_come_again_is_told_by_the_pace_of_the_very_first_prediction_too():
    model = Doubling()

    async def story(predictor, slot):
        _, (done, _) = await behind_a_busy_thread(predictor, model, [1], [2])
        predictor._deliver([done], [[2]], 5.0)
        predictor.submit([Row(3)], 30.0)
        with pytest.raises(Full) as full:
            predictor.submit([Row(4)], 30.0)
        assert full.value.retry_s == 15, "three wait, and one has taken 5 s"

    run(story, model, Limits(queue=3, batch=10))
