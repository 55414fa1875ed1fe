"""The array of a poll that has ended meanwhile is memory that others use now: what stands there is nobody's descriptor."""

import ctypes
import os
import select
import struct
import threading
import time

from msgspec.structs import replace

from pellucid.kernel import tasks
from pellucid.kernel.memory import Memory
from pellucid.observe.waits import Looker

LIMIT_S = 60
NONSENSE = 932_367_440


def polling(limit_s):
    """The task of a thread of ours that polls, and how to end that."""
    reading, writing = os.pipe()
    tids = []
    poll = select.poll()
    poll.register(reading, select.POLLIN)
    thread = threading.Thread(target=lambda: (tids.append(threading.get_native_id()), poll.poll(limit_s * 1000)))
    thread.start()
    until = time.monotonic() + LIMIT_S
    while not (tids and (call := tasks.calls(os.getpid(), tids).get(tids[0])) and call.name in ("poll", "ppoll")):
        assert time.monotonic() < until
        time.sleep(0.01)
    return tasks.task(os.getpid(), tids[0]), reading, writing, thread


def test_descriptors_of_a_call_that_has_ended_are_not_told():
    task, reading, writing, thread = polling(LIMIT_S)
    array = ctypes.create_string_buffer(struct.pack("<iHH", NONSENSE, select.POLLIN, 0))
    ended = replace(task, call=replace(task.call, arguments=(ctypes.addressof(array), 1, 1000)))
    try:
        with Memory.open(os.getpid()) as memory:
            looker = Looker(os.getpid(), memory, {}, lambda _: False)
            told, gaps = looker.wait(task, None)
            assert [one.fd for one in told.watched] == [reading]
            assert not gaps
            told, gaps = looker.wait(ended, None)
        assert told is None
        assert "ended during the look" in gaps[0].why
    finally:
        os.write(writing, b"x")
        thread.join(LIMIT_S)
        os.close(reading)
        os.close(writing)
