"""A worker's page of the memory through which workers tell and the supervisor sees (`board.py` has all of them): one writer a field.

A memfd made before the template starts; the template and, by fork, each worker map it. No lock is in it: a lock whose holder is
killed stays locked for ever, while a word that its writer left behind says what it was doing when it died. A store of an aligned 8-byte
word is one move of the processor, so a reader sees the old or the new number and nothing between; where several words belong
together, `started` is written last and cleared first.
Counters survive the worker: its successor goes on counting, so what Prometheus scrapes never falls.
"""

from bisect import bisect_left
from time import monotonic_ns
from typing import Final

from msgspec import Struct

PAGE: Final = 16384
"""Bytes of a slot: four pages of memory."""

# Words of a slot, 8 bytes each. Written by the worker's main thread:
_PID: Final = 0
_GENERATION: Final = 1
_STATE: Final = 2
_LOOP_BEAT: Final = 3
_QUEUED: Final = 4
_RSS: Final = 5
_PREDICT_TID: Final = 6
_DROPPED: Final = 7
# ... by its predict thread:
_REQUEST: Final = 8
_ROWS: Final = 9
_STARTED: Final = 10
_PREDICT_BEAT: Final = 11
_LAST_OK: Final = 12
_PREDICTS: Final = 13
_PREDICT_NS: Final = 14
_ROWS_TOTAL: Final = 15
_REQUESTS: Final = 17
_BATCHED: Final = 18
_TRACE: Final = 19
"""Three words: the ids of the trace and of the span of the request in it, 0 where it is not traced."""
_CHECKS: Final = 23
_EXPIRED: Final = 26
# ... by its main thread:
_NUMBER: Final = 24
_CONNECTIONS: Final = 27
_FULL: Final = 28
_BESIDE_SENT: Final = 48
_BESIDE_FAILED: Final = 49
_BESIDE_DIFFERENT: Final = 50
_SPANS_LOST: Final = 51
# ... by the supervisor:
_COMMAND: Final = 128
_WANTED_GENERATION: Final = 129
# ... by the main thread again, one word a column and one a key:
_UNSEEN: Final = 512
MOST_COLUMNS: Final = 256
_KEYS: Final = 768
MOST_KEYS: Final = 256
# ... and how long answers took: for each route and status the buckets of a histogram, and the sums of nanoseconds.
_TIMES: Final = 1024
_SUMS: Final = 1920

_TEXTS: Final = {"incident": (2048, 64), "sentence": (2112, 960), "error": (3072, 1000)}
"""Where each text begins in the slot, and how many bytes it may have; the 2 bytes before the text are its length."""

STATUSES: Final = (200, 400, 401, 408, 413, 415, 422, 429, 500, 503, 504)
BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds in seconds; one bucket more takes what is slower."""
ROUTES: Final = ("/predict", "/invocations", "/v2/models/{model}/infer", "/v2/models/{model}/versions/{version}/infer")
"""Where predictions are asked for; a form has the number of its route."""
_ROW: Final = len(BUCKETS) + 1
"""Words of a route and a status."""
_OTHER: Final = len(STATUSES)
_OF_ROUTE: Final = _OTHER + 1
"""Rows of a route."""

# States of a worker.
EMPTY: Final = 0
STARTING: Final = 1
READY: Final = 2
LEAVING: Final = 3

# Commands to a worker.
SERVE: Final = 0
SUSPECT: Final = 1
LEAVE: Final = 2

_COUNT_BITS: Final = 24
"""Of the word of a key: the requests of one second; above them is that second."""

SAMPLE: Final = -1
"""The request number of a worker's prediction of the stored sample."""


class Seen(Struct, frozen=True):
    """One slot at one moment. Times are seconds of CLOCK_MONOTONIC, 0 where there is none yet; `started` is 0 while nothing is predicted.
    `request` is the first of the `requests` that are predicted together, `rows` are the rows of all of them. `full`: since when hardly a descriptor is left.
    """

    slot: int
    pid: int = 0
    generation: int = 0
    state: int = EMPTY
    loop_beat: float = 0.0
    started: float = 0.0
    request: int = 0
    rows: int = 0
    requests: int = 0
    queued: int = 0
    last_ok: float = 0.0
    rss: int = 0
    predict_tid: int = 0
    connections: int = 0
    full: float = 0.0
    error: str = ""
    trace_id: str = ""
    """Of the request, in hexadecimal, where it is traced."""
    span_id: str = ""

    @property
    def request_id(self) -> str:
        return request_id(self.slot, self.request)


def request_id(slot: int, number: int) -> str:
    """`r-1-91`: the 91st request of slot 1; `sample` for the worker's own check."""
    return "sample" if number == SAMPLE else f"r-{slot}-{number}"


class Slot:
    """One worker's page."""

    def __init__(self, page: memoryview, number: int) -> None:
        self.number = number
        self._bytes = page
        self._words = page.cast("q")

    def begin(self, pid: int, generation: int) -> None:
        """A new worker takes the slot."""
        words = self._words
        self.tracing(bytes(24))
        for word in (
            _CONNECTIONS,
            _FULL,
            _STATE,
            _LOOP_BEAT,
            _QUEUED,
            _RSS,
            _STARTED,
            _REQUEST,
            _ROWS,
            _REQUESTS,
            _LAST_OK,
            _PREDICT_TID,
        ):
            words[word] = 0
        self.say("error", "")
        words[_GENERATION] = generation
        words[_STATE] = STARTING
        words[_PID] = pid

    def beat(self) -> None:
        """The event loop turns."""
        self._words[_LOOP_BEAT] = monotonic_ns()

    def state(self, state: int) -> None:
        self._words[_STATE] = state

    def connections(self, more: int) -> None:
        """So many more connections are open; less where it is negative."""
        self._words[_CONNECTIONS] += more

    def open_connections(self) -> int:
        return self._words[_CONNECTIONS]

    def full(self, *, now: bool) -> None:
        """Whether hardly a descriptor is left now; keeps since when."""
        words = self._words
        words[_FULL] = (words[_FULL] or monotonic_ns()) if now else 0

    def is_starting(self) -> bool:
        return self._words[_STATE] == STARTING

    def is_ready(self) -> bool:
        return self._words[_PID] != 0 and self._words[_STATE] == READY

    def loop_beat(self) -> float:
        """Seconds of CLOCK_MONOTONIC at which the event loop turned last."""
        return self._words[_LOOP_BEAT] / 1e9

    def unseen(self, column: int, count: int) -> None:
        """So many more values of this column had not been in the training data."""
        if column < MOST_COLUMNS:
            self._words[_UNSEEN + column] += count

    def unseen_counts(self, columns: int) -> tuple[int, ...]:
        """One a column."""
        return tuple(self._words[_UNSEEN : _UNSEEN + min(columns, MOST_COLUMNS)])

    def beside(self, sent: int = 0, failed: int = 0, different: int = 0) -> None:
        """So many more requests were answered by the other version, not answered by it, answered differently."""
        words = self._words
        words[_BESIDE_SENT] += sent
        words[_BESIDE_FAILED] += failed
        words[_BESIDE_DIFFERENT] += different

    def beside_counts(self) -> tuple[int, int, int]:
        """(sent, failed, different)."""
        words = self._words
        return words[_BESIDE_SENT], words[_BESIDE_FAILED], words[_BESIDE_DIFFERENT]

    def key_used(self, key: int, second: int) -> None:
        """One request more by this key in this second."""
        word = _KEYS + key
        before = self._words[word]
        self._words[word] = before + 1 if before >> _COUNT_BITS == second else second << _COUNT_BITS | 1

    def key_uses(self, key: int, second: int) -> int:
        """Requests by this key in this second in this worker."""
        word = self._words[_KEYS + key]
        return word & (1 << _COUNT_BITS) - 1 if word >> _COUNT_BITS == second else 0

    def predict_thread(self, tid: int) -> None:
        self._words[_PREDICT_TID] = tid

    def queued(self, requests: int) -> None:
        self._words[_QUEUED] = requests

    def rss(self, size: int) -> None:
        self._words[_RSS] = size

    def dropped(self) -> None:
        """One log record was dropped, for nobody read the pipe."""
        self._words[_DROPPED] += 1

    def next_request(self) -> int:
        """A number that no request of this slot had before."""
        self._words[_NUMBER] += 1
        return self._words[_NUMBER]

    def predicting(self, request: int, rows: int, requests: int) -> None:
        """The predict thread begins a batch of `requests`, of which `request` is the first."""
        words = self._words
        words[_REQUEST] = request
        words[_ROWS] = rows
        words[_REQUESTS] = requests
        words[_STARTED] = monotonic_ns()

    def predicted(self, rows: int, *, ok: bool) -> None:
        """The predict thread has ended what it began."""
        words = self._words
        now = monotonic_ns()
        began = words[_STARTED]
        words[_STARTED] = 0
        words[_PREDICT_BEAT] = now
        if words[_REQUEST] == SAMPLE:  # nobody's request
            words[_CHECKS] += 1
        else:
            words[_PREDICTS] += 1
            words[_PREDICT_NS] += now - began
            words[_ROWS_TOTAL] += rows
            words[_BATCHED] += words[_REQUESTS]
        if ok:
            words[_LAST_OK] = now

    def tracing(self, ids: bytes) -> None:
        """Of the request that is about to be predicted: 16 bytes of its trace and 8 of its span, all 0 where it is not traced."""
        self._bytes[_TRACE * 8 : _TRACE * 8 + 24] = ids

    def spans_lost(self, spans: int) -> None:
        """So many more could not be handed to the process that sends them."""
        self._words[_SPANS_LOST] += spans

    def expired(self) -> None:
        """A request was dropped before its prediction, for its deadline had passed."""
        self._words[_EXPIRED] += 1

    def answered(self, status: int, seconds: float, route: int = 0) -> None:
        """Count one answer to a request for predictions; `route` is its number in ROUTES."""
        words = self._words
        row = route * _OF_ROUTE + _STATUS_PLACE.get(status, _OTHER)
        words[_TIMES + row * _ROW + bisect_left(BUCKETS, seconds)] += 1
        words[_SUMS + row] += int(seconds * 1e9)

    def times(self) -> "tuple[Times, ...]":
        """Of each route and status that was answered."""
        found = []
        for route in range(len(ROUTES)):
            for row, status in enumerate((*STATUSES, 0), route * _OF_ROUTE):
                begin = _TIMES + row * _ROW
                buckets = tuple(self._words[begin : begin + _ROW])
                if any(buckets):
                    found.append(Times(route, status, buckets, self._words[_SUMS + row] / 1e9))
        return tuple(found)

    def command(self) -> int:
        return self._words[_COMMAND]

    def order(self, command: int) -> None:
        """The supervisor's word to the worker."""
        self._words[_COMMAND] = command

    def wanted_generation(self) -> int:
        return self._words[_WANTED_GENERATION]

    def want(self, generation: int) -> None:
        """Make the slot ready for a new worker: no command, no incident, and the generation that may take it."""
        self._words[_COMMAND] = SERVE
        self._words[_PID] = 0
        self.say("incident", "")
        self.say("sentence", "")
        self._words[_WANTED_GENERATION] = generation

    def vacate(self) -> None:
        """The worker is dead: its counters stay, nothing else is true any more."""
        self._words[_PID] = 0
        self._words[_STATE] = EMPTY

    def say(self, name: str, text: str) -> None:
        """Write one of the texts (incident, sentence, error), cut to what fits."""
        begin, size = _TEXTS[name]
        encoded = text.encode("utf-8", "replace")[: size - 2]
        self._bytes[begin : begin + 2] = b"\0\0"
        self._bytes[begin + 2 : begin + 2 + len(encoded)] = encoded
        self._bytes[begin : begin + 2] = len(encoded).to_bytes(2, "little")

    def text(self, name: str) -> str:
        begin, size = _TEXTS[name]
        length = min(int.from_bytes(self._bytes[begin : begin + 2], "little"), size - 2)
        return bytes(self._bytes[begin + 2 : begin + 2 + length]).decode("utf-8", "replace")

    def seen(self) -> Seen:
        """All that verdicts rest on. A request that began between two reads is read again."""
        words = self._words
        for _ in range(3):
            started, request, rows, requests = words[_STARTED], words[_REQUEST], words[_ROWS], words[_REQUESTS]
            if started == words[_STARTED]:
                break
        return Seen(
            slot=self.number,
            pid=words[_PID],
            generation=words[_GENERATION],
            state=words[_STATE],
            loop_beat=words[_LOOP_BEAT] / 1e9,
            started=started / 1e9,
            request=request,
            rows=rows,
            requests=requests,
            queued=words[_QUEUED],
            last_ok=words[_LAST_OK] / 1e9,
            rss=words[_RSS],
            predict_tid=words[_PREDICT_TID],
            connections=words[_CONNECTIONS],
            full=words[_FULL] / 1e9,
            error=self.text("error"),
            trace_id=self._hex(_TRACE, 16),
            span_id=self._hex(_TRACE + 2, 8),
        )

    def _hex(self, word: int, size: int) -> str:
        """Bytes as hexadecimal digits, "" where all are 0."""
        return bytes(self._bytes[word * 8 : word * 8 + size]).hex() if any(self._words[word : word + size // 8]) else ""

    def counts(self) -> "Counts":
        """What this slot has counted over all its workers."""
        words, times = self._words, self.times()
        answers = dict.fromkeys((*STATUSES, 0), 0)
        for one in times:
            answers[one.status] += sum(one.buckets)
        return Counts(
            answers=tuple(answers.values()),
            buckets=tuple(sum(one.buckets[place] for one in times) for place in range(_ROW)),
            seconds=sum(one.seconds for one in times),
            predicts=words[_PREDICTS],
            predict_s=words[_PREDICT_NS] / 1e9,
            rows=words[_ROWS_TOTAL],
            batched=words[_BATCHED],
            checks=words[_CHECKS],
            expired=words[_EXPIRED],
            dropped=words[_DROPPED],
            spans_lost=words[_SPANS_LOST],
        )


class Counts(Struct, frozen=True):
    """`answers` in the order of STATUSES, then all others; `buckets` in that of BUCKETS, then what was slower. `batched`: requests that were
    predicted, in `predicts` calls of the pipeline; `checks`: predictions of the stored sample, which are in none of the others.
    """

    answers: tuple[int, ...]
    buckets: tuple[int, ...]
    seconds: float
    predicts: int
    predict_s: float
    rows: int
    batched: int
    checks: int
    expired: int
    dropped: int
    spans_lost: int = 0


class Times(Struct, frozen=True):
    """How long the answers of one route (its number in ROUTES) with one status (0: any that is not in STATUSES) took: `buckets` as in `Counts`."""

    route: int
    status: int
    buckets: tuple[int, ...]
    seconds: float


_STATUS_PLACE: Final = {status: place for place, status in enumerate(STATUSES)}
