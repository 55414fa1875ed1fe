"""A grid search that can be interrupted: each fit is one line in a journal, and the same search goes on from there.

    training/3fa9….jsonl    {"candidate": 4, "fold": 1, "score": 0.87, "seconds": 0.4}

The journal's name is a hash of the data, the pipeline, the grid and the folds: another search has another one. It is removed once the search is done.
"""

import contextlib
import hashlib
import math
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import msgspec
from msgspec import Struct

from pellucid import home
from pellucid.model.errors import UsageError

Backend = Literal["loky", "ray"]


class Progress(Struct, frozen=True):
    """`done` of `total` fits, of which `before` were done by an earlier, interrupted run; `left_s` by the pace of this one, None until it is known."""

    done: int
    total: int
    left_s: float | None
    before: int = 0


Tell = Callable[[Progress], None]


class Fit(Struct, frozen=True):
    """One candidate on one fold. `score` is NaN where it raised, and `error` says what."""

    candidate: int
    fold: int
    score: float
    seconds: float
    error: str = ""


class Candidate(Struct, frozen=True):
    """`mean` of its folds' scores, in whose order they are."""

    parameters: dict[str, Any]
    scores: tuple[float, ...]

    @property
    def mean(self) -> float:
        return sum(self.scores) / len(self.scores)


class Asked(Struct, frozen=True, kw_only=True):
    """`key` names what is searched: equal keys are the same search. `package`: the module of the pipeline's own classes. `jobs`: at a time, 0 for as
    many as there are CPUs.
    """

    pipeline: Any
    grid: Mapping[str, list[Any]]
    folds: int
    jobs: int
    backend: Backend
    regression: bool
    key: str
    package: str


def search(asked: Asked, inputs: Any, labels: Any, tell: Tell) -> list[Candidate]:
    """Every candidate of the grid with its scores, best first. UsageError where none could be fitted."""
    from sklearn.model_selection import KFold, ParameterGrid, StratifiedKFold

    grid = list(ParameterGrid({name: list(values) for name, values in asked.grid.items()}))
    folds = KFold if asked.regression else StratifiedKFold
    parts = list(folds(asked.folds, shuffle=True, random_state=0).split(inputs, labels))
    journal = Journal(asked.key)
    done = journal.read()
    todo = [(number, fold) for number in range(len(grid)) for fold in range(len(parts)) if (number, fold) not in done]
    before, began = len(done), time.perf_counter()
    total = len(grid) * len(parts)
    tell(Progress(before, total, None, before))
    for fit in _fits(asked, grid, parts, todo, inputs, labels):
        journal.add(fit)
        done[fit.candidate, fit.fold] = fit
        fresh = len(done) - before
        tell(Progress(len(done), total, (time.perf_counter() - began) / fresh * (total - len(done)), before))
    journal.remove()
    return _ranked(grid, len(parts), done)


def _ranked(grid: list[dict[str, Any]], folds: int, done: Mapping[tuple[int, int], Fit]) -> list[Candidate]:
    found = [
        Candidate(parameters, tuple(done[number, fold].score for fold in range(folds)))
        for number, parameters in enumerate(grid)
    ]
    good = [candidate for candidate in found if not math.isnan(candidate.mean)]
    if not good:
        raise UsageError(
            tried="fit the pipeline",
            said=next(fit.error for fit in done.values() if fit.error),
            remedy="mend the pipeline, or name other columns",
        )
    return sorted(good, key=lambda candidate: -candidate.mean)


def _fits(
    asked: Asked, grid: list[dict[str, Any]], parts: list[Any], todo: list[tuple[int, int]], inputs: Any, labels: Any
) -> Iterator[Fit]:
    if asked.backend == "ray":
        from pellucid.serve.cluster import fitting

        yield from fitting.fits(asked, grid, parts, todo, inputs, labels)
        return
    import joblib

    jobs = asked.jobs or len(os.sched_getaffinity(0))
    # At Ctrl-C the generator ends before its fits do; they are done another time.
    warnings.filterwarnings("ignore", message=r"\d+ tasks which were still being processed", module="joblib")
    with joblib.parallel_config(backend="loky" if jobs != 1 else "sequential"):
        yield from joblib.Parallel(n_jobs=jobs, return_as="generator_unordered")(
            joblib.delayed(fit_one)(asked.pipeline, grid[number], number, fold, parts[fold], inputs, labels)
            for number, fold in todo
        )


def fit_one(
    pipeline: Any, parameters: dict[str, Any], number: int, fold: int, part: Any, inputs: Any, labels: Any
) -> Fit:
    """In a process of the pool: fit one candidate on all folds but one, and score it on that."""
    from sklearn.base import clone

    began = time.perf_counter()
    fitted, held = part
    try:
        candidate = clone(pipeline).set_params(**parameters)
        candidate.fit(inputs.iloc[fitted], labels[fitted])
        score, error = float(candidate.score(inputs.iloc[held], labels[held])), ""
    except Exception as raised:  # noqa: BLE001  a candidate that can't be fitted is out of the race, the others are not
        score, error = math.nan, f"{type(raised).__name__}: {raised}".splitlines()[0]
    return Fit(number, fold, score, time.perf_counter() - began, error)


class Journal:
    """Fits that were done, a line each; a line that was cut off by a crash is left out."""

    def __init__(self, key: str) -> None:
        name = hashlib.sha256(key.encode()).hexdigest()[:32]
        self.path = os.path.join(home.home(), "training", f"{name}.jsonl")

    def read(self) -> dict[tuple[int, int], Fit]:
        done: dict[tuple[int, int], Fit] = {}
        try:
            with open(self.path, "rb") as file:
                lines = file.read().split(b"\n")
        except FileNotFoundError:
            return done
        for line in lines:
            with contextlib.suppress(msgspec.DecodeError):
                fit = msgspec.json.decode(line, type=Fit)
                done[fit.candidate, fit.fold] = fit
        return done

    def add(self, fit: Fit) -> None:
        if math.isnan(fit.score):  # it is tried again
            return
        os.makedirs(os.path.dirname(self.path), mode=0o700, exist_ok=True)
        fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, msgspec.json.encode(fit) + b"\n")
        finally:
            os.close(fd)

    def remove(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)
