"""Grid search with a line of progress, the score on held-out rows, and the best pipeline stored as a new version.

    loan: candidate 18 of 36, 50 %, 3 s left
    loan version 1: accuracy 0.89 on 154 held-out rows, best of 36 candidates in 3 folds, 7 s

The search sees the same frames that a served request becomes: rows go through the signature (`frames.frame`) before anything is fitted.
"""

import contextlib
import hashlib
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from pellucid.serve import package, stored_code
from pellucid.serve.manifest import Manifest, Training
from pellucid.serve.recipe import Recipe
from pellucid.serve.signature import infer
from pellucid.serve.store import Store

if TYPE_CHECKING:
    import pandas as pd

HELD_OUT = 0.25
SEED = 42
TELL_EVERY_S = 0.2


class Progress(Struct, frozen=True):
    """`done` of `total` candidates; `left_s` by the pace since the first, None until that is known (the processes of the pool start slowly)."""

    done: int
    total: int
    left_s: float | None


Tell = Callable[[Progress], None]


def train(recipe: Recipe, store: Store, tell: Tell, jobs: int, *, onnx: bool = False) -> Manifest:
    """Fit every candidate of the grid in `jobs` processes, store the best, and return its manifest. `onnx`: with its ONNX form."""
    from sklearn.metrics import accuracy_score
    from sklearn.model_selection import train_test_split

    from pellucid.serve.frames import frame, rows
    from pellucid.serve.records import Reader

    began = time.perf_counter()
    data = recipe.load()
    signature = infer(data, recipe.columns, id_column=recipe.id_column, target=recipe.target)
    reader = Reader(signature, max_rows=len(data))
    records = rows(signature, data)
    inputs = frame(reader, reader.check(records))
    labels = data[recipe.target].to_numpy(dtype=object)
    numbers = list(range(len(data)))
    fitted, held = train_test_split(numbers, test_size=HELD_OUT, random_state=SEED, stratify=labels)
    search = _search(recipe, inputs.iloc[fitted], labels[fitted], tell, jobs)
    score = float(accuracy_score(labels[held], search.predict(inputs.iloc[held])))
    return package.save(
        store,
        recipe.name,
        search.best_estimator_,
        signature=signature,
        sources=recipe.sources,
        sample=[records[number] for number in held],
        metrics={
            "accuracy": round(score, 4),
            "cross_validated_accuracy": round(float(search.best_score_), 4),
            "held_out_rows": len(held),
        },
        training=Training(
            rows=len(fitted),
            data_sha256=_digest(data),
            seconds=round(time.perf_counter() - began, 2),
            parameters=dict(search.best_params_),
            candidates=len(search.cv_results_["params"]),
            folds=recipe.folds,
        ),
        onnx=onnx,
        git=_git(),
    )


def _search(recipe: Recipe, inputs: "pd.DataFrame", labels: Any, tell: Tell, jobs: int) -> Any:
    from sklearn.model_selection import GridSearchCV, ParameterGrid

    package_name = stored_code.bring_to_life(recipe.sources, recipe.name)
    pipeline = recipe.pipeline(package_name)
    grid = {key: list(values) for key, values in recipe.grid.items()}
    with tempfile.TemporaryDirectory(prefix="pellucid-train-") as folder:
        # The processes of the pool are started anew and get this sys.path: there they find the model's own classes by name.
        _write(os.path.join(folder, package_name), {"__init__.py": "", **recipe.sources})
        counted = Counted(os.path.join(folder, "fits"))
        search = GridSearchCV(pipeline, grid, cv=recipe.folds, n_jobs=jobs, scoring=counted)
        sys.path.append(folder)
        try:
            with _telling(counted, len(ParameterGrid(grid)), recipe.folds, tell):
                search.fit(inputs, labels)
        finally:
            sys.path.remove(folder)
    return search


class Counted(Struct, frozen=True):
    """The score of an estimator, and one byte more in a file for each: the one thing that a fit in another process can tell of itself."""

    path: str

    def __call__(self, estimator: Any, inputs: Any, labels: Any) -> float:
        score = float(estimator.score(inputs, labels))
        fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, b".")
        finally:
            os.close(fd)
        return score

    def so_far(self) -> int:
        try:
            return os.stat(self.path).st_size
        except FileNotFoundError:
            return 0


@contextlib.contextmanager
def _telling(counted: Counted, candidates: int, folds: int, tell: Tell) -> Iterator[None]:
    """Tell the progress until the block ends, and that all is done if it ends well."""
    over = threading.Event()

    def watch() -> None:
        first: tuple[float, int] | None = None
        while not over.wait(TELL_EVERY_S):
            now, done = time.perf_counter(), counted.so_far() // folds
            if first is None and done:
                first = now, done
            paced = first is not None and done > first[1]
            left = (now - first[0]) / (done - first[1]) * (candidates - done) if first and paced else None
            tell(Progress(done, candidates, left))

    teller = threading.Thread(target=watch, name="progress")
    teller.start()
    try:
        yield
    finally:
        over.set()
        teller.join()
    tell(Progress(candidates, candidates, 0.0))


def _write(folder: str, sources: Mapping[str, str]) -> None:
    os.mkdir(folder)
    for name, text in sources.items():
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
            file.write(text)


def _git() -> str:
    """`commit` of the checkout that this runs in, `commit, changed` where files differ from it; "" outside of one."""
    import subprocess

    try:
        commit, changed = (
            subprocess.run(["git", *words], capture_output=True, text=True, timeout=5, check=True).stdout.strip()
            for words in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        )
    except (OSError, subprocess.SubprocessError):  # no git, or no checkout: there is nothing to tell
        return ""
    return f"{commit}, changed" if changed else commit


def _digest(data: "pd.DataFrame") -> str:
    return hashlib.sha256(data.to_csv(index=False).encode()).hexdigest()
