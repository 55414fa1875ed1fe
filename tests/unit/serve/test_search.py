"""A grid search that was interrupted goes on where it was."""

import math

import numpy as np
import pandas as pd
import pytest
from sklearn.tree import DecisionTreeClassifier

from pellucid.model.errors import UsageError
from pellucid.serve import search

GRID = {"max_depth": [1, 2, 3]}


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))


def asked(grid=GRID, key="one"):
    return search.Asked(
        pipeline=DecisionTreeClassifier(random_state=0),
        grid=grid,
        folds=3,
        jobs=1,
        backend="loky",
        regression=False,
        key=key,
        package="",
    )


def table():
    numbers = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 3)), columns=list("abc"))
    return numbers, (numbers["a"] > 0).to_numpy()


def test_what_was_fitted_before_an_interruption_is_not_fitted_again(monkeypatch):
    inputs, labels = table()
    whole = search.search(asked(key="another"), inputs, labels, lambda progress: None)
    told = []

    def until_the_fourth(progress):
        told.append(progress)
        if progress.done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search.search(asked(), inputs, labels, until_the_fourth)
    journal = search.Journal("one")
    with open(journal.path, "a") as file:
        file.write('{"candidate": 2, "fo')  # a crash in the middle of a line
    assert len(journal.read()) == 4
    fits = []
    once = search.fit_one
    monkeypatch.setattr(search, "fit_one", lambda *all_of_it: fits.append(1) or once(*all_of_it))
    told.clear()
    found = search.search(asked(), inputs, labels, told.append)
    assert len(fits) == 5
    assert (told[0].done, told[0].before, told[-1].done) == (4, 4, 9)
    assert found == whole
    assert not journal.read(), "it is done with"


def test_a_candidate_that_can_not_be_fitted_is_out_of_the_race():
    inputs, labels = table()
    found = search.search(asked({"max_depth": [2, -5]}), inputs, labels, lambda progress: None)
    assert [candidate.parameters for candidate in found] == [{"max_depth": 2}]
    assert not math.isnan(found[0].mean)
    with pytest.raises(UsageError, match="max_depth"):
        search.search(asked({"max_depth": [-5]}), inputs, labels, lambda progress: None)
