"""MANIFEST: all that is known of one version of a model, beside its bytes, which are named here by their SHA-256."""

from typing import Any, Literal

from msgspec import Struct

from pellucid.serve.signature import Signature

SCHEMA = 1

Format = Literal["skops", "pickle", "pyfunc", "onnx", "callable"]
"""`pyfunc`: a pickle of MLflow's whose object has MLflow's own `predict` (`pyfunc.py`)."""
PICKLED = frozenset({"pickle", "pyfunc"})
"""Loading one of these runs its code."""
FILES: dict[str, Format] = {
    ".onnx": "onnx", ".skops": "skops", ".pkl": "pickle", ".pickle": "pickle", ".joblib": "pickle", ".dill": "pickle",
    ".pk": "pickle", ".sav": "pickle",
}  # fmt: skip
"""What a model file is, by its suffix."""
PICKLE = "model.pickle"
GRAPH = "model.onnx"
MODEL = "model.skops"
ONNX = "final.onnx"
SAMPLE = "sample.json"
EXPECTED = "expected.json"
CODE = "code/"


class Member(Struct, frozen=True):
    """One file of the package: `path` within it, `sha256` of its bytes and where the store keeps them."""

    path: str
    sha256: str
    size: int


class Training(Struct, frozen=True):
    """What the model was made from and how well it did. `metrics` are those of held-out rows."""

    rows: int
    data_sha256: str
    seconds: float
    parameters: dict[str, Any]
    candidates: int = 0
    folds: int = 0


class Proof(Struct, frozen=True, kw_only=True):
    """Whether an engine gave the pipeline's own predictions on `rows` rows. `difference`: the largest between its scores and the pipeline's."""

    engine: str
    equal: bool
    rows: int
    difference: float = 0.0
    why_not: str = ""


class RowProof(Struct, frozen=True):
    """Whether each of `rows` rows got the same prediction alone as among the others: only then requests may be predicted together."""

    equal: bool
    rows: int
    why_not: str = ""


class Manifest(Struct, frozen=True, kw_only=True):
    """One version. `libraries` are those it was made with; `trusted` the types beyond scikit-learn's own that its file may hold."""

    schema: int = SCHEMA
    name: str
    version: int
    created_at: float
    python: str
    libraries: dict[str, str]
    signature: Signature
    metrics: dict[str, float]
    training: Training
    trusted: tuple[str, ...]
    members: tuple[Member, ...]
    sample_rows: int
    rows_proof: RowProof | None = None
    proofs: tuple[Proof, ...] = ()
    format: Format = "skops"
    origin: str = ""
    """Where it was imported from; "" where it was trained here."""
    git: str = ""
    """`commit`, or `commit, changed`, of the checkout that the training ran in; "" outside of one."""

    def member(self, path: str) -> Member:
        """KeyError where the package has no such file."""
        for member in self.members:
            if member.path == path:
                return member
        raise KeyError(path)

    def has(self, path: str) -> bool:
        return any(member.path == path for member in self.members)

    def code(self) -> tuple[Member, ...]:
        """The source files of the model's own classes."""
        return tuple(member for member in self.members if member.path.startswith(CODE))
