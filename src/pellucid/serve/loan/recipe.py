"""How the loan model is made: its own preprocessing, a random forest, 36 candidates in 3 folds."""

from importlib import import_module
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from pellucid.serve.loan import data
from pellucid.serve.recipe import Recipe

if TYPE_CHECKING:
    import pandas as pd

GRID: dict[str, list[Any]] = {
    "forest__n_estimators": [10, 20, 30],
    "forest__max_depth": [None, 6, 10],
    "forest__max_leaf_nodes": [None, 20],
    "forest__min_impurity_decrease": [0.0, 0.001],
}


def recipe() -> Recipe:
    return Recipe(
        name="loan",
        columns=data.COLUMNS,
        id_column=data.ID,
        target=data.TARGET,
        sources={"preprocessing.py": files(__package__).joinpath("preprocessing.py").read_text(encoding="utf-8")},
        load=_load,
        pipeline=_pipeline,
        grid=GRID,
    )


def _load() -> "pd.DataFrame":
    training, _ = data.load()
    return training


def _pipeline(package: str) -> Any:
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.pipeline import Pipeline

    preprocessing = import_module(f"{package}.preprocessing")
    return Pipeline(
        [("prepare", preprocessing.LoanPreprocessing()), ("forest", RandomForestClassifier(random_state=data.SEED))]
    )
