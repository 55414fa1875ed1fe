"""Models that were made elsewhere, into the store: MLflow's, ONNX graphs, files of skops, pickle, joblib or dill.

What a version needs and the file does not say comes from a sample: column types, and rows to prove the model on. A pickle is a program: it is
loaded only with consent (`--allow-pickle`), and what it would import is listed first. Without a sample, rows are made up from the signature, so
that a change of libraries is found out all the same.
"""

import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from pellucid.model.errors import PellucidError, UsageError, os_words
from pellucid.serve import package, pickles, pyfunc, stored_code, trust
from pellucid.serve.manifest import FILES, PICKLED, Format, Manifest, Training
from pellucid.serve.package import Parts
from pellucid.serve.signature import Column, Signature, infer
from pellucid.serve.store import LATEST, Store

MADE_UP_ROWS = 12
_NUMBERS = (0.0, 1.0, 2.5, -1.0, 100.0, 7.0, 0.5, 3.0, 42.0, 10.0, 1000.0, 5.0)

Tell = Callable[[str], None]


class Found(Struct, frozen=True, kw_only=True):
    """A model file and all that its surroundings say of it. `sample`: records or None; `columns`: by its signature, or None."""

    name: str
    content: bytes
    format: Format
    origin: str
    sources: Mapping[str, str] = {}
    columns: tuple[Column, ...] | None = None
    sample: list[dict[str, Any]] | None = None
    target: str = "prediction"
    extras: Mapping[str, bytes] = {}
    """Further members."""


class Wishes(Struct, frozen=True, kw_only=True):
    """What the command line says. `sample`: a CSV file with the columns of the model; `identity` and `target` are columns of it."""

    name: str | None = None
    sample: str | None = None
    identity: str | None = None
    target: str | None = None
    allow_pickle: bool = False
    allow_code: bool = False
    """Of a bundle whose model has classes of its own."""
    alias: str = LATEST


def bring_in(store: Store, place: str, wishes: Wishes, tell: Tell) -> tuple[Manifest, bool]:
    """Store what lies at `place`. (the version, whether it is new: the same content is stored once)."""
    found = _found(place)
    if found.format in PICKLED:
        _consent(found, wishes, tell)
    pipeline = _revived(found)
    signature, sample = _described(found, wishes, pipeline)
    parts = Parts(
        signature=signature,
        sources=found.sources,
        sample=sample,
        metrics={},
        training=Training(rows=0, data_sha256="", seconds=0.0, parameters={}),
        format=found.format,
        content=found.content,
        origin=found.origin,
        extras=found.extras,
    )
    try:
        manifest, members = package.pack(wishes.name or found.name, pipeline, parts)
    except PellucidError:
        raise
    except Exception as error:
        made_up = "" if wishes.sample or found.sample else "; the rows were made up from its signature"
        raise UsageError(
            tried=f"predict with the model of {found.origin}, to prove it",
            said=f"{type(error).__name__}: {error}{made_up}".splitlines()[0],
            remedy="--sample FILE.csv  (rows that it can predict)",
        ) from error
    there = store.same(manifest, members)
    return (there, False) if there is not None else (store.register(manifest, members, wishes.alias), True)


def _found(place: str) -> Found:
    from pellucid.serve import mlflow_models

    if place.startswith(("models:/", "runs:/")) or os.path.isdir(place):
        return mlflow_models.found(place)
    content = read(place)
    stem, suffix = os.path.splitext(os.path.basename(place))
    form = FILES.get(suffix.lower())
    if form is None:
        raise UsageError(
            tried=f"import {place}",
            said=f"{suffix or 'a file without a suffix'} is no kind of model file that is known here",
            remedy=f"give one of {', '.join(FILES)}, a .pellucid-model, the folder of an MLflow model, or models:/NAME@ALIAS",
        )
    return Found(name=stem, content=content, format=form, origin=place)


def read(path: str) -> bytes:
    """The whole file. UsageError where it can't be read."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise UsageError(
            tried=f"read {path}", said=os_words(error), remedy="name a file that exists and that may be read"
        ) from error


def _consent(found: Found, wishes: Wishes, tell: Tell) -> None:
    """List what loading would import, and refuse without consent."""
    seen = pickles.preflight(found.content)
    own = {path.removesuffix(".py").replace("/", ".").removesuffix(".__init__") for path in found.sources}
    tell(f"{found.origin} is a pickle, and loading it runs code:")
    for line in seen.lines():
        tell(f"  {line}")
    if not wishes.allow_pickle:
        raise UsageError(
            tried=f"import {found.origin}",
            said="it is a pickle, and what it would import is listed above",
            remedy="--allow-pickle  (if you trust where it comes from), or store it by skops",
        )
    modules = {one.module for one in seen.globals if one.missing} - own
    missing = sorted(one for one in modules if not (found.format == "pyfunc" and pyfunc.is_of_mlflow(one)))
    if missing:
        raise UsageError(
            tried=f"import {found.origin}",
            said=f"it needs {', '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed here",
            remedy=f"install {'it' if len(missing) == 1 else 'them'} here, then import again",
        )


def _revived(found: Found) -> Any:
    """The pipeline itself; of a file that holds something else, UsageError."""
    try:
        if found.format == "onnx":
            from pellucid.serve.engines.onnx import Graph, columns

            return Graph(found.content, [column.name for column in columns(found.content) or ()])
        if found.format == "pickle":
            stored_code.by_their_own_names(found.sources, found.name)
            pipeline = package.unpickled(found.content)
        elif found.format == "pyfunc":
            stored_code.by_their_own_names(found.sources, found.name)
            pipeline = pyfunc.loaded(found.content, found.extras)
        else:
            pipeline = trust.load(found.content, found.origin)
    except UsageError:
        raise
    except Exception as error:
        raise UsageError(
            tried=f"load {found.origin}",
            said=f"{type(error).__name__}: {error}".splitlines()[0],
            remedy="import it where it was made, then pellucid models export",
        ) from error
    if not hasattr(pipeline, "predict"):
        raise UsageError(
            tried=f"load {found.origin}",
            said=f"it holds a {type(pipeline).__name__}, which has no predict",
            remedy="give a file with a fitted estimator or pipeline",
        )
    return pipeline


def _described(found: Found, wishes: Wishes, pipeline: Any) -> tuple[Signature, list[dict[str, Any]]]:
    """The signature, and the records to prove the model on."""
    if wishes.sample is not None:
        return _by_sample(wishes, pipeline)
    columns = found.columns if found.columns is not None else _columns_of(found, pipeline)
    if columns is None:
        raise UsageError(
            tried=f"import {found.origin}",
            said="nothing says which columns it takes, and of which types",
            remedy="--sample FILE.csv  (some rows that it can predict)",
        )
    learned = encoded(pipeline)
    columns = tuple(_with_categories(column, learned.get(column.name)) for column in columns)
    return Signature(columns, None, found.target), found.sample or made_up(columns, learned)


def _by_sample(wishes: Wishes, pipeline: Any) -> tuple[Signature, list[dict[str, Any]]]:
    import pandas as pd

    from pellucid.serve.frames import rows

    assert wishes.sample is not None
    try:
        data = pd.read_csv(wishes.sample)
    except (OSError, ValueError) as error:
        raise UsageError(
            tried=f"read {wishes.sample} as CSV",
            said=str(error).splitlines()[0],
            remedy="give a CSV file with a header",
        ) from error
    named = getattr(pipeline, "feature_names_in_", None)
    target = wishes.target or "prediction"
    left_out = {wishes.identity, wishes.target}
    names = [str(name) for name in (data.columns if named is None else named) if name not in left_out]
    if wishes.target is None:
        data = data.assign(**{target: 0})
    signature = infer(data, names, id_column=wishes.identity, target=target)
    return signature, rows(signature, data.head(package.SAMPLE_ROWS * 4))


def _columns_of(found: Found, pipeline: Any) -> tuple[Column, ...] | None:
    """What the model itself says: inputs of an ONNX graph, or the names of numeric features."""
    if found.format == "onnx":
        from pellucid.serve.engines.onnx import columns

        return columns(found.content)
    named = getattr(pipeline, "feature_names_in_", None)
    first = pipeline.steps[0][1] if hasattr(pipeline, "steps") else pipeline
    if (
        named is None
        or not type(first).__module__.startswith("sklearn.")
        or "ColumnTransformer" in type(first).__name__
    ):
        return None
    return tuple(Column(str(name), "number", nullable=False) for name in named)


class Encoded(NamedTuple):
    """The texts that an encoder was fitted on; `strict`: it raises for another."""

    categories: tuple[str, ...]
    strict: bool


def encoded(estimator: Any) -> dict[str, Encoded]:
    """Column → what the encoders within a fitted pipeline of scikit-learn know of it. Only those that saw columns by name."""
    found: dict[str, Encoded] = {}
    todo = [estimator]
    while todo:
        one = todo.pop()
        todo += [step for _, step in getattr(one, "steps", None) or ()]
        todo += [part[1] for part in getattr(one, "transformers_", None) or ()]
        if hasattr(one, "best_estimator_"):
            todo.append(one.best_estimator_)
        names, categories = getattr(one, "feature_names_in_", None), getattr(one, "categories_", None)
        if names is None or categories is None or len(names) != len(categories):
            continue
        for name, values in zip(names, categories, strict=True):
            texts = tuple(value for value in values.tolist() if isinstance(value, str))
            if texts:
                found[str(name)] = Encoded(texts, getattr(one, "handle_unknown", "") == "error")
    return found


def _with_categories(column: Column, known: Encoded | None) -> Column:
    """Where an encoder would raise for another text, the request is refused with the name of the column."""
    if known is None or not known.strict or column.kind != "text" or column.categories:
        return column
    return replace(column, categories=tuple(sorted(known.categories)))


def made_up(columns: tuple[Column, ...], learned: Mapping[str, Encoded]) -> list[dict[str, Any]]:
    """Rows of plausible values, every one different."""
    return [
        {
            column.name: _made_up(column, learned.get(column.name), number + place)
            for place, column in enumerate(columns)
        }
        for number in range(MADE_UP_ROWS)
    ]


def _made_up(column: Column, known: Encoded | None, number: int) -> Any:
    if column.kind == "text":
        texts = column.categories or (known.categories if known else ())
        return texts[number % len(texts)] if texts else f"text {number}"
    if column.kind == "boolean":
        return number % 2 == 0
    value = _NUMBERS[number % len(_NUMBERS)]
    return int(value) if column.kind == "whole" else value
