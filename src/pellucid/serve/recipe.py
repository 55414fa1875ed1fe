"""What a training needs to know: where the rows come from, the pipeline, and the grid of parameters to try."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from pellucid.model.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd


class Recipe(NamedTuple):
    """`sources` are read by value (file name → text); `pipeline` gets the name of the package that they become."""

    name: str
    columns: list[str]
    id_column: str | None
    target: str
    sources: Mapping[str, str]
    load: "Callable[[], pd.DataFrame]"
    pipeline: Callable[[str], Any]
    grid: Mapping[str, list[Any]]
    folds: int = 3
    regression: bool = False


def named(name: str) -> Recipe:
    """The recipe that `pellucid train NAME` follows. UsageError names those that there are."""
    if name != "loan":
        raise UsageError(tried=f"train {name!r}", said="there is one recipe so far: loan", remedy="pellucid train loan")
    from pellucid.serve.loan.recipe import recipe

    return recipe()
