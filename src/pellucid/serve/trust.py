"""Which types a file of skops may name, beyond those that skops knows: it makes objects of them, and the model calls its functions.

A name that begins with `sklearn.` is not yet scikit-learn's: `sklearn.utils._testing.check_output` is subprocess', which that module imports, and
`assert_run_python_script_without_output` beside it runs the text that it is given. As the function of a FunctionTransformer either would be
called with the rows. So a name is looked up: it has to be a class that the very module defines, or a function of a part that only computes.
"""

import io
import zipfile
from collections.abc import Sequence
from importlib import import_module

from pellucid.model.errors import UsageError

OWN = frozenset(
    {"numpy.dtype", "numpy.mean", "scipy._lib.array_api_compat.numpy._aliases.asarray", "scipy.interpolate._bsplines.BSpline", "scipy.sparse._csr.csr_matrix"}
)  # fmt: skip
"""What fitted estimators of scikit-learn hold of the libraries below it; it computes, or holds numbers."""
LIBRARY = "sklearn"
_NOT_FOR_MODELS = frozenset(
    {"_build_utils", "_mocking", "_test_common", "_testing", "conftest", "datasets", "estimator_checks", "externals", "tests"}
)  # fmt: skip
"""Modules that start programs, fetch files or come from elsewhere."""
_COMPUTES = frozenset(
    {"cluster", "covariance", "decomposition", "feature_selection", "gaussian_process", "kernel_approximation", "metrics", "neighbors", "preprocessing"}
)  # fmt: skip
"""Parts whose functions are handed to estimators: scores, distances, kernels, scalings."""
MOST_UNPACKED = 1 << 30
"""Bytes that any file may unpack to; beyond them it has to be no more than `MOST_TIMES` its size, as arrays of zeros are not."""
MOST_TIMES = 50


def strangers(types: Sequence[str], package: str = "") -> list[str]:
    """Those of the types (`module.name`) that are neither scikit-learn's nor of `package`, which holds the model's own code."""
    own = f"{package}."
    return [kind for kind in types if not (kind in OWN or (package and kind.startswith(own)) or _of_the_library(kind))]


def _of_the_library(kind: str) -> bool:
    module, _, name = kind.rpartition(".")
    parts = module.split(".")
    if parts[0] != LIBRARY or not _NOT_FOR_MODELS.isdisjoint(parts):
        return False
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError):
        return False
    if getattr(found, "__module__", "") != module or getattr(found, "__qualname__", "") != name:
        return False
    return isinstance(found, type) or (callable(found) and len(parts) > 1 and parts[1] in _COMPUTES)


def not_too_large(content: bytes, origin: str) -> None:
    """UsageError where a file of skops, which is a zip archive, would unpack to far more than its size."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except zipfile.BadZipFile:
        return  # skops says what it is not
    if unpacked > MOST_UNPACKED and unpacked > MOST_TIMES * len(content):
        raise UsageError(
            tried=f"read {origin}",
            said=f"its {len(content)} bytes would unpack to {unpacked}",
            remedy="ask where it comes from: arrays of a model can't be pressed so small",
        )
