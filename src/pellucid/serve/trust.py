"""A file of skops, read without trusting it: which types it may name, how large it may become, and whether its trees lead out of their memory.

skops makes objects of the types, and the model calls its functions.

A name that begins with `sklearn.` is not yet scikit-learn's: `sklearn.utils._testing.check_output` is subprocess', which that module imports, and
`assert_run_python_script_without_output` beside it runs the text that it is given. As the function of a FunctionTransformer either would be
called with the rows. So a name is looked up: it has to be a class that the very module defines, or a function of a part that only computes.
A tree is an array of nodes, each with the numbers of its children and of a column, which scikit-learn follows without a look at their bounds
(`Tree.__setstate__` and `_apply_dense` of sklearn/tree/_tree.pyx, 1.9; `_predict_one_from_raw_data` of its histogram gradient boosting).
"""

import io
import zipfile
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType
from typing import Any

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


def load(content: bytes, origin: str, package: str = "") -> Any:
    """The object in it. `package`: the module of the model's own code. UsageError for what is not trusted; whatever skops raises of a broken file."""
    import skops.io

    not_too_large(content, origin)
    named = skops.io.get_untrusted_types(data=content)
    refuse_strangers(origin, named, package)
    found = skops.io.loads(content, trusted=named)
    if wrong := unsound(found):
        raise UsageError(
            tried=f"read {origin}", said=wrong, remedy="ask where it comes from: scikit-learn makes no such tree"
        )
    return found


def refuse_strangers(origin: str, types: Sequence[str], package: str) -> None:
    """UsageError where one of them is not to be trusted."""
    if unknown := strangers(types, package):
        raise UsageError(
            tried=f"read {origin}",
            said=f"it holds types that are neither scikit-learn's nor defined by its own stored code: {', '.join(unknown)}",
            remedy="define them in a source file that is stored with the model",
        )


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


def unsound(pipeline: Any) -> str:
    """Which tree within a pipeline would be followed out of its nodes, out of the columns, or for ever; "" where all end in a leaf."""
    seen: dict[int, Any] = {}
    todo = [pipeline]
    while todo:
        one = todo.pop()
        if id(one) in seen or isinstance(one, str | bytes | int | float | type | ModuleType | None):
            continue
        seen[id(one)] = one  # kept, so that no other object gets its id
        for tree, width in _trees_of(one):
            if wrong := _wrong(tree, width):
                return f"a tree of its {type(one).__name__} {wrong}"
        todo += _parts_of(one)
    return ""


def _parts_of(one: Any) -> list[Any]:
    if isinstance(one, dict):
        return list(one.values())
    if isinstance(one, list | tuple):
        return list(one)
    if str(getattr(one, "dtype", "")) == "object":
        return list(one.ravel())
    return list(getattr(one, "__dict__", {}).values())


def _trees_of(one: Any) -> list[tuple[Any, int]]:
    """(its nodes, how many columns it gets): of a tree, and of those whose trees get the columns unlooked at."""
    width = vars(one).get("n_features_in_", 0) if hasattr(one, "__dict__") else 0
    held = getattr(one, "__dict__", {})
    trees = [held["tree_"]] if "tree_" in held else []
    if type(one).__module__.startswith(_ENSEMBLES):
        trees += [
            vars(each)["tree_"] for each in _flat(held.get("estimators_")) if "tree_" in getattr(each, "__dict__", {})
        ]
        trees += [each for each in _flat(held.get("_predictors")) if hasattr(each, "nodes")]
    return [(tree, width) for tree in trees]


_ENSEMBLES = ("sklearn.ensemble._forest", "sklearn.ensemble._gb", "sklearn.ensemble._hist_gradient_boosting.")


def _flat(nested: Any) -> list[Any]:
    if nested is None:
        return []
    return [each for row in nested for each in (row if hasattr(row, "__len__") else [row])]


def _wrong(tree: Any, width: int) -> str:
    import numpy as np

    if hasattr(tree, "nodes"):  # of histogram gradient boosting
        nodes = tree.nodes
        left, right, column, inner = nodes["left"], nodes["right"], nodes["feature_idx"], nodes["is_leaf"] == 0
        if np.any(nodes["bitset_idx"][inner & (nodes["is_categorical"] != 0)] >= len(tree.raw_left_cat_bitsets)):
            return "has categories that are not there"
    else:
        left, right, column = tree.children_left, tree.children_right, tree.feature
        inner = left != -1
    if not len(left):
        return "has no node"
    here = np.flatnonzero(inner)
    for child in (left[inner].astype(np.int64), right[inner].astype(np.int64)):
        if np.any(child <= here) or np.any(child >= len(left)):
            return "leads out of its nodes, or back"
    if np.any(column[inner].astype(np.int64) < 0) or np.any(column[inner].astype(np.int64) >= width):
        return f"asks for a column beyond its {width}"
    return ""
