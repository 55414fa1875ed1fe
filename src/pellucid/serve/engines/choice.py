"""Which engine computes a model: each is proved against the pipeline's own answers when the model is stored, and one of those is chosen.

A proof holds for the stored rows, for those rows with every nullable column empty in turn, and for columns shuffled against each other: new
combinations of values that were seen. Labels must be equal to the bit; `exact` must give the pipeline's scores to the bit too.
"""

import math
import warnings
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from msgspec import Struct

from pellucid.model.errors import UsageError
from pellucid.serve.engines.pipeline import Engine, Name, Pipeline, Unfit
from pellucid.serve.manifest import Manifest, Proof, RowProof

Wanted = Literal["auto", "pipeline", "exact", "onnx"]

AS_ALONE = 1e-9
"""Largest difference between the scores of a row alone and in company: sums of floats may be made in another order."""
SHUFFLES = 3
ALONE = 16
FEW = 20


def build(name: Name, estimator: Any, onnx: bytes | None = None) -> Engine:
    """Raises Unfit where this engine can't compute this model."""
    if name == "exact":
        from pellucid.serve.engines.exact import Exact

        return Exact(estimator)
    if name == "onnx":
        from pellucid.serve.engines.onnx import Onnx

        return Onnx(estimator, onnx)
    return Pipeline(estimator)


def choose(manifest: Manifest, wanted: Wanted, estimator: Any, onnx: bytes | None) -> Engine:
    """`auto`: the exact sum where it was proved, else the pipeline. UsageError where another one is asked for and was not proved."""
    proofs = {proof.engine: proof for proof in manifest.proofs}
    if wanted == "pipeline" or (wanted == "auto" and not ("exact" in proofs and proofs["exact"].equal)):
        return Pipeline(estimator)
    name: Name = "exact" if wanted == "auto" else wanted
    proof = proofs.get(name)
    why_not = "it was not tried when this version was stored" if proof is None else proof.why_not
    if proof is not None and proof.equal:
        try:
            return build(name, estimator, onnx)
        except Unfit as unfit:
            if wanted == "auto":
                return Pipeline(estimator)
            why_not = str(unfit)
    raise UsageError(
        tried=f"serve {manifest.name} version {manifest.version} by the engine {name}",
        said=f"that engine is not proved equal to the pipeline: {why_not}",
        remedy="--engine pipeline" + ("" if name == "onnx" else "  (always right)"),
    )


def prove(engine: Engine, inputs: pd.DataFrame, nullable: Sequence[str]) -> Proof:
    """What comes of `engine` beside the pipeline on `inputs` and rows made of them."""
    rows = _rows(inputs, nullable)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compared = [_compared(engine, part) for part in _parts(rows)]
    except Exception as error:  # noqa: BLE001  whatever it raises, it is not proved
        return Proof(engine=engine.name, equal=False, rows=len(rows), why_not=f"it raised {_words(error)}")
    different = [pair for right, found, _ in compared for pair in zip(right, found, strict=True) if not same(*pair)]
    difference = max(difference for _, _, difference in compared)
    why_not = ""
    if different:
        right, found = different[0]
        count = sum(len(labels) for labels, _, _ in compared)
        why_not = f"{len(different)} of {count} predictions differ, the first {found!r} instead of {right!r}"
    elif engine.name == "exact" and difference:
        why_not = f"its scores differ by up to {difference:g}"
    return Proof(engine=engine.name, equal=not why_not, rows=len(rows), difference=difference, why_not=why_not)


def _parts(rows: pd.DataFrame) -> list[pd.DataFrame]:
    """All of them, then some alone and some few together: an engine may compute these in another way."""
    alone = [rows.iloc[[place]] for place in range(min(ALONE, len(rows)))]
    return [rows, *alone, *(rows.iloc[place : place + FEW] for place in range(0, min(FEW * 4, len(rows)), FEW))]


def _compared(engine: Engine, rows: pd.DataFrame) -> tuple[list[Any], list[Any], float]:
    """(the pipeline's labels, the engine's, the largest difference of their scores)."""
    right, found = engine.fallback.predict(rows), engine.predict(rows)
    difference = _difference(engine.fallback.scores(rows), engine.scores(rows), right, found)
    return right.tolist(), found.tolist(), difference


def prove_rows(pipeline: Pipeline, inputs: pd.DataFrame) -> RowProof:
    """Whether each row is judged by itself: alone, in the whole, and in two other orders it gets the same label."""
    count = len(inputs)
    orders = [np.arange(count)[::-1], np.random.default_rng(0).permutation(count)]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            whole, scores = _labels(pipeline, inputs), pipeline.scores(inputs)
            for place in range(count):
                row = inputs.iloc[[place]]
                if not same(_labels(pipeline, row)[0], whole[place]):
                    return RowProof(False, count, f"row {place} alone is judged differently than among {count} rows")
                if scores is not None and not _close(pipeline.scores(row)[0], scores[place]):
                    return RowProof(False, count, f"row {place} alone has other scores than among {count} rows")
            for order in orders:
                found = _labels(pipeline, inputs.iloc[order])
                if not all(same(label, whole[place]) for label, place in zip(found, order, strict=True)):
                    return RowProof(False, count, "in another order of the rows some get other labels")
    except Exception as error:  # noqa: BLE001  whatever it raises, it is not proved
        return RowProof(False, count, f"it raised {_words(error)}")
    return RowProof(count > 1, count, "" if count > 1 else "there are too few rows to tell")


def same(one: Any, other: Any) -> bool:
    """Equal to the bit; NaN equals NaN, 1 is not 1.0."""
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one):
        return math.isnan(other)
    return type(one) is type(other) and bool(one == other)


def _labels(pipeline: Pipeline, inputs: pd.DataFrame) -> list[Any]:
    labels: list[Any] = np.asarray(pipeline.predict(inputs)).tolist()
    if len(labels) != len(inputs):
        raise ValueError(f"{len(labels)} predictions came for {len(inputs)} rows")
    return labels


def _close(one: Any, other: Any) -> bool:
    return bool(np.allclose(one, other, rtol=AS_ALONE, atol=AS_ALONE, equal_nan=True))


def _difference(right: Any, found: Any, right_labels: Any, found_labels: Any) -> float:
    if right is None or found is None:
        if not np.issubdtype(right_labels.dtype, np.floating):
            return 0.0
        right, found = right_labels, found_labels
    right, found = (np.asarray(one, dtype=np.float64).reshape(len(right_labels), -1) for one in (right, found))
    if right.shape != found.shape:
        raise ValueError(f"its scores have the shape {found.shape[1:]}, not {right.shape[1:]}")
    return float(np.nanmax(np.abs(right - found), initial=0.0))


def _rows(inputs: pd.DataFrame, nullable: Sequence[str]) -> pd.DataFrame:
    """The rows, a quarter of them again with each nullable column empty, and all of them with shuffled columns."""
    made = [inputs]
    for name in nullable:
        part = inputs.iloc[:: max(1, len(inputs) // 16)].copy()
        part[name] = pd.Series([None] * len(part), index=part.index, dtype=inputs[name].dtype)
        made.append(part)
    dice = np.random.default_rng(0)
    for _ in range(SHUFFLES):
        columns = {name: inputs[name].iloc[dice.permutation(len(inputs))].array for name in inputs.columns}
        made.append(pd.DataFrame(columns, copy=False))
    return pd.concat(made, ignore_index=True)


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:200]


class Engines(Struct, frozen=True):
    """What was proved, and the ONNX form of the final estimator where there is one."""

    proofs: tuple[Proof, ...]
    onnx: bytes | None


def proved(estimator: Any, inputs: pd.DataFrame, nullable: Sequence[str], wanted: Sequence[Name]) -> Engines:
    """Try each of the wanted engines beside the pipeline."""
    proofs, content = [], None
    for name in wanted:
        try:
            if name == "onnx":
                from pellucid.serve.engines.onnx import convert

                content = convert(estimator, inputs)
            proofs.append(prove(build(name, estimator, content), inputs, nullable))
        except Unfit as unfit:
            proofs.append(Proof(engine=name, equal=False, rows=0, why_not=str(unfit)))
    onnx_holds = any(proof.engine == "onnx" and proof.equal for proof in proofs)
    return Engines(tuple(proofs), content if onnx_holds else None)
