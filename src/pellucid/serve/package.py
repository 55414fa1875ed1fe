"""A trained pipeline as a package in the store, and back to life; proved each time on its own stored sample.

The pipeline is kept by skops, which loads no type that was not named as trusted, and runs no code of the file. Trusted are scikit-learn's
and numpy's own (`trust.py`), and classes whose source lies in the package itself.
A model made by other library versions loads with warnings and may predict something else; a warning is a guess, so the stored sample is
predicted again: equal answers → it may serve, one different → it is refused.
"""

import contextlib
import sys
import time
import traceback
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from msgspec import Struct

from pellucid.model.errors import PellucidError, UsageError
from pellucid.serve import stored_code, trust
from pellucid.serve.engines.pipeline import Engine, Name, Pipeline
from pellucid.serve.manifest import (
    CODE,
    EXPECTED,
    GRAPH,
    MODEL,
    ONNX,
    PICKLE,
    PICKLED,
    SAMPLE,
    Format,
    Manifest,
    Training,
)
from pellucid.serve.records import Reader, Unseen
from pellucid.serve.signature import Signature
from pellucid.serve.store import LATEST, Store

if TYPE_CHECKING:
    from pellucid.serve.engines.choice import Wanted

STORED_AS: dict[str, str] = {"skops": MODEL, "pickle": PICKLE, "pyfunc": PICKLE, "onnx": GRAPH}
"""The member that holds the model, by its format."""

SAMPLE_ROWS = 50
EXAMPLE_ROWS = 5


class Shelf(Protocol):
    """Where the members of a version lie: a store, or a bundle in memory."""

    def read(self, manifest: Manifest, path: str) -> bytes:
        """The bytes of a member. UsageError where they are not there or damaged."""


class Model:
    """A pipeline that can predict, with its manifest, its reader of records and the engine that computes it."""

    def __init__(
        self,
        manifest: Manifest,
        pipeline: Any,
        max_rows: int,
        engine: Engine | None = None,
        labels: Sequence[Any] = (),
    ) -> None:
        self.manifest = manifest
        self.pipeline = pipeline
        self.engine = engine or Pipeline(pipeline)
        self.reader = Reader(manifest.signature, max_rows)
        self.batches = manifest.rows_proof is not None and manifest.rows_proof.equal
        """Several requests may be predicted together."""
        self.labels = labels
        """The answers to the stored sample: of this type are all others."""

    def use_reader(self, unseen: Unseen | None) -> None:
        """Tell categories that the training data had not to `unseen`, instead of refusing them."""
        self.reader = Reader(self.manifest.signature, self.reader.max_rows, unseen)

    def predict(self, records: list[Struct]) -> list[Any]:
        """One label a record, in order, as plain Python values."""
        from pellucid.serve.frames import frame

        labels: list[Any] = self.engine.predict(frame(self.reader, records)).tolist()
        if len(labels) != len(records):
            raise ValueError(f"{len(labels)} predictions came for {len(records)} records")
        return labels

    def answers(self, records: list[Struct], labels: Sequence[Any]) -> list[dict[str, Any]]:
        """`{"Loan_ID": "LP001015", "prediction": "Y"}` for each record; without the id where the model has no id column."""
        key = self.manifest.signature.id_column
        if key is None:
            return [{"prediction": label} for label in labels]
        return [
            {key: number, "prediction": label}
            for number, label in zip(map(self.reader.ids, records), labels, strict=True)
        ]


class Parts(Struct, frozen=True, kw_only=True):
    """What a version is made of beside its pipeline. `sources`: file name → text of the modules that its own classes come from; `sample`:
    records to prove it on, the first of which are stored with it. `content` are the bytes of a pickle or an ONNX graph; skops' are made here.
    """

    signature: Signature
    sources: Mapping[str, str]
    sample: Sequence[Mapping[str, Any]]
    metrics: dict[str, float]
    training: Training
    format: Format = "skops"
    content: bytes = b""
    origin: str = ""
    git: str = ""
    extras: Mapping[str, bytes] = {}
    """Further members, by path."""


def save(store: Store, name: str, pipeline: Any, *, alias: str = LATEST, onnx: bool = False, **parts: Any) -> Manifest:
    """Store a fitted pipeline as the next version of `name`. `parts` are those of `Parts`; `onnx`: try that engine too.

    UsageError where it holds a type that can't be trusted, or predicts differently once it is stored.
    """
    manifest, members = pack(name, pipeline, Parts(**parts), onnx=onnx)
    return store.register(manifest, members, alias)


def pack(name: str, pipeline: Any, parts: Parts, *, onnx: bool = False) -> tuple[Manifest, dict[str, bytes]]:
    """The manifest, still without its version, and the members by path."""
    from pellucid.serve.engines import choice
    from pellucid.serve.frames import frame

    content, trusted = (
        _skops(name, pipeline, parts.sources) if parts.format == "skops" and not parts.content else (parts.content, ())
    )
    records = list(parts.sample)[:SAMPLE_ROWS]
    reader = Reader(parts.signature, max_rows=len(parts.sample) or 1)
    inputs = frame(reader, reader.check(list(parts.sample)))
    nullable = [column.name for column in parts.signature.columns if column.nullable]
    wanted: list[Name] = ["exact", "onnx"] if onnx else ["exact"]
    provable = records and parts.format != "onnx"
    engines = choice.proved(pipeline, inputs, nullable, wanted) if provable else choice.Engines((), None)
    manifest = Manifest(
        name=name,
        version=0,
        created_at=time.time(),
        python=".".join(map(str, sys.version_info[:3])),
        libraries=_libraries(parts.format),
        signature=parts.signature,
        metrics=parts.metrics,
        training=parts.training,
        trusted=trusted,
        members=(),
        sample_rows=len(records),
        rows_proof=choice.prove_rows(Pipeline(pipeline), inputs.iloc[:SAMPLE_ROWS]),
        proofs=engines.proofs,
        format=parts.format,
        origin=parts.origin,
        git=parts.git,
    )
    fitted = Model(manifest, pipeline, max_rows=len(records) or 1)
    stored = Model(manifest, revive(manifest, content, parts.sources, parts.extras), max_rows=len(records) or 1)
    checked = fitted.reader.check(records)
    expected = fitted.predict(checked)
    if stored.predict(checked) != expected:
        raise UsageError(
            tried=f"store the model {name!r}",
            said="read back from its stored form it predicts the sample differently",
            remedy="give its transformers no state outside of their attributes",
        )
    members = {f"{CODE}{file}": text.encode() for file, text in parts.sources.items()} | {
        **parts.extras,
        STORED_AS[parts.format]: content,
        SAMPLE: msgspec.json.encode(records),
        EXPECTED: msgspec.json.encode(expected),
    }
    if engines.onnx is not None:
        members[ONNX] = engines.onnx
    return manifest, members


def _skops(name: str, pipeline: Any, sources: Mapping[str, str]) -> tuple[bytes, tuple[str, ...]]:
    """The stored form, and the types in it that are not scikit-learn's."""
    import skops.io

    content = skops.io.dumps(pipeline)
    trusted = tuple(sorted(skops.io.get_untrusted_types(data=content)))
    trust.refuse_strangers(f"the model {name!r}", trusted, stored_code.package_of(sources))
    return content, trusted


def revive(manifest: Manifest, content: bytes, sources: Mapping[str, str], extras: Mapping[str, bytes]) -> Any:
    """The pipeline of a stored model. What a pickle runs was consented to when it was imported. `extras`: members that a pyfunc opens."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of other versions: `verify` answers what they only suspect
        if manifest.format == "onnx":
            from pellucid.serve.engines.onnx import Graph

            return Graph(content, manifest.signature.names())
        if manifest.format in PICKLED:
            from pellucid.serve import pyfunc

            stored_code.by_their_own_names(sources, manifest.name)
            return pyfunc.loaded(content, extras) if manifest.format == "pyfunc" else unpickled(content)
        package = stored_code.bring_to_life(sources, manifest.name)
        return trust.load(content, f"the model {manifest.name!r}", package)


def unpickled(content: bytes) -> Any:
    """Load a pickle, which runs its code: only after consent. joblib reads plain pickles, and those with arrays in between, which it writes."""
    import io

    import joblib

    return joblib.load(io.BytesIO(content))


def load(store: Shelf, manifest: Manifest, max_rows: int, engine: "Wanted" = "auto") -> Model:
    """Bring a stored model to life in this process. UsageError where a member is damaged, a type not trusted, the engine not proved, the
    sample not predicted, or other libraries than those of its training can't even read it.
    """
    try:
        return _loaded(store, manifest, max_rows, engine)
    except PellucidError:
        raise
    except Exception as error:  # whatever scikit-learn raises of attributes that are not there yet, or no more
        raise UsageError(
            tried=f"load {manifest.name} version {manifest.version} and predict its stored sample",
            said=f"{type(error).__name__}: {error} ({_place(error)}); {drift(manifest) or _SAME}".replace("\n", " "),
            remedy=_as_trained(manifest),
        ) from error


def _loaded(store: Shelf, manifest: Manifest, max_rows: int, engine: "Wanted") -> Model:
    from pellucid.serve.engines import choice

    sources = {member.path.removeprefix(CODE): store.read(manifest, member.path).decode() for member in manifest.code()}
    content = store.read(manifest, STORED_AS[manifest.format])
    pyfunc = manifest.format == "pyfunc"
    extras = {one.path: store.read(manifest, one.path) for one in manifest.members} if pyfunc else {}
    pipeline = revive(manifest, content, sources, extras)
    onnx = store.read(manifest, ONNX) if engine == "onnx" and manifest.has(ONNX) else None
    model = Model(
        manifest, pipeline, max_rows, choice.choose(manifest, engine, pipeline, onnx), _expected(store, manifest)
    )
    verify(store, model)
    return model


def verify(store: Shelf, model: Model) -> None:
    """Predict the stored sample. UsageError with the rows that differ."""
    manifest = model.manifest
    records, expected = sample(store, model)
    found = model.predict(records) if records else []
    different = [row for row, pair in enumerate(zip(found, expected, strict=True)) if pair[0] != pair[1]]
    if different:
        first = different[0]
        raise UsageError(
            tried=f"verify {manifest.name} version {manifest.version} on its stored sample",
            said=f"{len(different)} of {len(expected)} predictions differ from those at its training, first in row {first}: "
            f"{found[first]!r} instead of {expected[first]!r}; {drift(manifest) or _SAME}",
            remedy=_as_trained(manifest),
        )


def _place(error: Exception) -> str:
    """`own.model/steps.py:12 in transform`: where it was raised."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    return f"{where.filename}:{where.lineno} in {where.name}"


_SAME = "the library versions are the same"


def _as_trained(manifest: Manifest) -> str:
    return f"install {' '.join(f'{name}=={version}' for name, version in manifest.libraries.items())}, or train anew"


def how(model: Model) -> str:
    """By which engine it predicts, and whether several requests are predicted together, each with its proof."""
    manifest = model.manifest
    proof = next((proof for proof in manifest.proofs if proof.engine == model.engine.name), None)
    told = f"it predicts its sample as at its training, by the engine {model.engine.name}" + (
        f", proved equal on {proof.rows} rows" if proof else ""
    )
    rows = manifest.rows_proof
    if rows is None:
        return f"{told}; each request is predicted alone, since it was stored without a proof that its rows are independent"
    if not rows.equal:
        return f"{told}; each request is predicted alone, since its rows are not independent: {rows.why_not}"
    return f"{told}; requests are predicted together, since {rows.rows} rows were proved independent"


def sample(store: Shelf, model: Model) -> tuple[list[Struct], list[Any]]:
    """The stored records and the predictions that were made for them at the training."""
    reader = Reader(model.manifest.signature, SAMPLE_ROWS)
    records = reader.check(msgspec.json.decode(store.read(model.manifest, SAMPLE)))
    return records, _expected(store, model.manifest)


def example(store: Shelf, manifest: Manifest) -> list[dict[str, Any]]:
    """Some records of the stored sample, as a client would send them."""
    records: list[dict[str, Any]] = msgspec.json.decode(store.read(manifest, SAMPLE))
    return records[:EXAMPLE_ROWS]


def _expected(store: Shelf, manifest: Manifest) -> list[Any]:
    expected: list[Any] = msgspec.json.decode(store.read(manifest, EXPECTED))
    return expected


def drift(manifest: Manifest) -> str:
    """`made with scikit-learn 1.9.1, here is 1.5.2`; "" where all libraries are those that it was made with."""
    here = _libraries(manifest.format)
    differ = [
        f"made with {name} {version}, here is {here.get(name, 'none')}"
        for name, version in manifest.libraries.items()
        if here.get(name) != version
    ]
    return "; ".join(differ)


def _libraries(form: Format) -> dict[str, str]:
    """Those whose version may change a prediction."""
    from importlib.metadata import PackageNotFoundError, version

    names = ["scikit-learn", "pandas", "numpy", "skops"] if form != "onnx" else ["onnxruntime", "pandas", "numpy"]
    found = {}
    for name in names:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
