"""A recipe out of a CSV file: which columns, which pipeline, which grid.

    pellucid train houses.csv --target price
    pellucid train houses.csv --target price --pipeline mine:pipeline

The pipeline may be the user's own (`--pipeline module:object`: an estimator, or a function that returns one, or it and a grid). Its module, and what
that imports relatively, is read by value and kept with the model. Without one: missing numbers become the median, missing texts the most frequent,
texts one column each category, then a random forest.
"""

import ast
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from pellucid.model.errors import UsageError
from pellucid.serve import csv_table, stored_code
from pellucid.serve.recipe import Recipe
from pellucid.serve.signature import MOST_CATEGORIES
from pellucid.serve.store import check_name

if TYPE_CHECKING:
    import pandas as pd

MOST_CLASSES = 20
"""A target of whole numbers with more distinct values than this is a quantity, not a class."""
FOREST_GRID: dict[str, list[Any]] = {
    "forest__n_estimators": [50, 100],
    "forest__max_depth": [None, 8],
    "forest__min_samples_leaf": [1, 5],
}


def recipe(
    path: str, *, target: str, name: str | None, identity: str | None, pipeline: str | None, folds: int
) -> Recipe:
    """UsageError where the file, a column or the pipeline is not as it is named."""
    if name is not None:
        check_name(name)
    data = csv_table.read(path)
    for column, option in ((target, "--target"), *([(identity, "--id")] if identity else [])):
        if column not in data.columns:
            raise UsageError(
                tried=f"train on {path}",
                said=f"it has no column {column!r}, only {', '.join(map(repr, data.columns))}",
                remedy=f"{option} COLUMN  (one of these)",
            )
    data = data[data[target].notna()].reset_index(drop=True)
    if len(data) < folds * 4:
        raise UsageError(
            tried=f"train on {path}",
            said=f"only {len(data)} rows have a {target}",
            remedy=f"give at least {folds * 4} rows",
        )
    regression = is_quantity(data[target])
    _check_classes(path, data[target], folds)
    own = _own(pipeline) if pipeline else None
    columns = [str(column) for column in data.columns if column not in {target, identity}]
    if own is None:
        columns = [column for column in columns if not (_free_text(data[column]) or data[column].isna().all())]
    return Recipe(
        name=name or _plain(os.path.splitext(os.path.basename(path))[0]),
        columns=columns,
        id_column=identity,
        target=target,
        sources=own.sources if own else {},
        load=lambda: data,
        pipeline=own.pipeline if own else lambda _: _forest(data, columns, regression=regression),
        grid=own.grid() if own else FOREST_GRID,
        folds=folds,
        regression=regression,
    )


def _check_classes(path: str, values: "pd.Series", folds: int) -> None:
    """UsageError where there is nothing to tell apart, or a class too rare to be both learnt and tried."""
    counts = values.value_counts()
    if len(counts) == 1:
        raise UsageError(
            tried=f"train on {path}",
            said=f"every row has the same {values.name}: {counts.index[0]!r}",
            remedy="give rows of more than one kind, or another --target",
        )
    if is_quantity(values):
        return
    if len(counts) > len(values) / 2:
        raise UsageError(
            tried=f"train on {path}",
            said=f"{values.name} has {len(counts)} different values in {len(values)} rows, and is no number to be estimated: nearly each row is a class of its own",
            remedy="name another --target",
        )
    rare = [repr(value) for value, count in counts.items() if count < folds]
    if rare:
        raise UsageError(
            tried=f"train on {path}",
            said=f"fewer than {folds} rows have the {values.name} {', '.join(rare[:5])}{' ...' if len(rare) > 5 else ''}: not one for each of {folds} folds",
            remedy="leave those rows out, or give more of them" + (", or use fewer --folds" if folds > 2 else ""),
        )


def is_quantity(values: "pd.Series") -> bool:
    """Whether the target is a number to be estimated rather than a class."""
    import pandas as pd

    if pd.api.types.is_bool_dtype(values) or not pd.api.types.is_numeric_dtype(values):
        return False
    return bool(values.nunique() > MOST_CLASSES or (values % 1 != 0).any())


def _free_text(values: "pd.Series") -> bool:
    import pandas as pd

    return not pd.api.types.is_numeric_dtype(values) and values.nunique() > MOST_CATEGORIES


def _plain(name: str) -> str:
    return (
        "".join(char if char.isascii() and (char.isalnum() or char in "_-.") else "_" for char in name).lstrip(".-")
        or "model"
    )


def _forest(data: "pd.DataFrame", columns: list[str], *, regression: bool) -> Any:
    import pandas as pd
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder

    numbers = [name for name in columns if pd.api.types.is_numeric_dtype(data[name])]
    texts = [name for name in columns if name not in numbers]
    categories = Pipeline(
        [
            ("fill", SimpleImputer(strategy="most_frequent", missing_values=float("nan"))),
            ("encode", OneHotEncoder(handle_unknown="ignore", sparse_output=False)),
        ]
    )
    prepare = ColumnTransformer([("numbers", SimpleImputer(strategy="median"), numbers), ("texts", categories, texts)])
    forest = (RandomForestRegressor if regression else RandomForestClassifier)(random_state=0)
    return Pipeline([("prepare", prepare), ("forest", forest)])


class _Own:
    """The user's own pipeline: `module:object`, found in the working directory as the user would import it."""

    def __init__(self, module: str, name: str, sources: dict[str, str]) -> None:
        self.module = module
        self.name = name
        self.sources = sources

    def _made(self, package: str) -> tuple[Any, dict[str, list[Any]]]:
        """The object, called where it is a function: a pipeline, and its grid."""
        found = import_module(f"{package}.{self.module}")
        made = getattr(found, self.name, None)
        if callable(made) and not hasattr(made, "fit"):
            made = made()
        grid = getattr(found, "GRID", {})
        if isinstance(made, tuple):
            made, grid = made
        if not hasattr(made, "fit") or not hasattr(made, "predict"):
            raise UsageError(
                tried=f"take the pipeline {self.module}:{self.name}",
                said=f"it is a {type(made).__name__}, which can't be fitted",
                remedy="name an estimator, or a function that returns one",
            )
        return made, {str(key): list(values) for key, values in grid.items()}

    def pipeline(self, package: str) -> Any:
        return self._made(package)[0]

    def grid(self) -> dict[str, list[Any]]:
        return self._made(stored_code.bring_to_life(self.sources, self.module))[1]


def _own(wanted: str) -> _Own:
    module, colon, name = wanted.partition(":")
    if not colon or not module.isidentifier() or not name.isidentifier():
        raise UsageError(
            tried=f"take the pipeline {wanted!r}",
            said="it is not MODULE:OBJECT, with a module that is one file",
            remedy="--pipeline mine:pipeline  (the object `pipeline` of ./mine.py)",
        )
    for folder in (os.getcwd(), *sys.path):
        path = os.path.join(folder, f"{module}.py")
        if os.path.exists(path):
            sources: dict[str, str] = {}
            _collect(os.path.dirname(path), module, sources)
            return _Own(module, name, sources)
    raise UsageError(
        tried=f"take the pipeline {wanted!r}",
        said=f"there is no {module}.py here ({os.getcwd()}) or on PYTHONPATH",
        remedy="run it from the folder that holds the file",
    )


def _collect(folder: str, module: str, sources: dict[str, str]) -> None:
    """The text of a module, and of those beside it that it imports relatively (`from .steps import Clean`)."""
    path = os.path.join(folder, f"{module}.py")
    if f"{module}.py" in sources or not os.path.exists(path):
        return
    with open(path, encoding="utf-8") as file:
        text = file.read()
    sources[f"{module}.py"] = text
    try:
        tree = ast.parse(text, path)
    except SyntaxError as error:
        raise UsageError(tried=f"read {path}", said=str(error), remedy="mend the file") from error
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            for name in [node.module] if node.module else [alias.name for alias in node.names]:
                _collect(folder, str(name).partition(".")[0], sources)
