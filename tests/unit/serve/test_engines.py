"""Engines beside the pipeline: equal to the bit or refused, and rows that are not judged by themselves are found out."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.datasets import make_classification
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from pellucid.model.errors import UsageError
from pellucid.serve.engines import choice, histogram
from pellucid.serve.engines.exact import Exact
from pellucid.serve.engines.pipeline import Pipeline, Unfit
from pellucid.serve.manifest import Manifest, Proof, Training
from pellucid.serve.signature import Signature

FORESTS = [
    RandomForestClassifier(7, random_state=0),
    ExtraTreesClassifier(7, random_state=0),
    RandomForestRegressor(7, random_state=0),
    ExtraTreesRegressor(7, random_state=0),
    DecisionTreeClassifier(random_state=0),
    DecisionTreeRegressor(random_state=0),
    GradientBoostingClassifier(n_estimators=7, random_state=0),
    GradientBoostingRegressor(n_estimators=7, random_state=0),
    HistGradientBoostingClassifier(max_iter=7, random_state=0, min_samples_leaf=5),
    HistGradientBoostingRegressor(max_iter=7, random_state=0, min_samples_leaf=5),
    HistGradientBoostingRegressor("poisson", max_iter=7, random_state=0, min_samples_leaf=5),
]


def table(classes=3, rows=120):
    numbers, labels = make_classification(rows, 6, n_informative=4, n_classes=classes, random_state=1)
    return pd.DataFrame(numbers, columns=list("abcdef")), labels


@pytest.mark.parametrize("estimator", FORESTS, ids=lambda one: type(one).__name__)
@pytest.mark.parametrize("classes", [2, 3])
def test_a_direct_sum_of_trees_is_equal_to_the_bit(estimator, classes):
    inputs, labels = table(classes)
    names = np.array(["no", "perhaps", "yes"])[labels] if hasattr(estimator, "predict_proba") else labels
    pipeline = make_pipeline(StandardScaler(), estimator).fit(inputs, names)
    proof = choice.prove(Exact(pipeline), inputs, [])
    assert (proof.equal, proof.difference, proof.why_not) == (True, 0.0, "")
    assert proof.rows == len(inputs) * 4


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("count", [1, 2, histogram.FEW, histogram.FEW + 1, 100])
def test_histogram_boosting_of_few_rows_and_many_with_missing_and_infinite_values(count, classes):
    inputs, labels = table(classes)
    dice = np.random.default_rng(3)
    inputs = inputs.mask(dice.random(inputs.shape) < 0.2)
    boosting = HistGradientBoostingClassifier(max_iter=20, min_samples_leaf=3).fit(inputs, labels)
    exact = Exact(boosting)
    rows = inputs.sample(count, random_state=2).copy()
    rows.iloc[0, :3] = [np.inf, -np.inf, 1e300]
    assert exact.predict(rows).tolist() == boosting.predict(rows).tolist()
    assert (exact.scores(rows) == boosting.decision_function(rows)).all()


def test_histogram_boosting_that_encodes_categories_is_left_to_scikit_learn():
    inputs, labels = table()
    inputs = inputs.assign(a=pd.Categorical((inputs["a"] > 0).map({True: "x", False: "y"})))
    with pytest.raises(Unfit, match="encodes categories itself"):
        Exact(HistGradientBoostingClassifier(max_iter=3, categorical_features=["a"]).fit(inputs, labels))


def test_an_engine_that_errs_on_single_rows_is_not_proved():
    inputs, labels = table()
    exact = Exact(DecisionTreeClassifier(random_state=0).fit(inputs, labels))
    right = exact.predict
    exact.predict = lambda rows: right(rows) + (len(rows) == 1)
    assert "predictions differ" in choice.prove(exact, inputs, []).why_not


def test_a_search_over_a_pipeline_is_seen_through():
    inputs, labels = table()
    search = GridSearchCV(make_pipeline(StandardScaler(), RandomForestClassifier(3)), {}, cv=2).fit(inputs, labels)
    assert choice.prove(Exact(search), inputs, []).equal


@np.errstate(over="ignore")
def test_rows_that_scikit_learn_refuses_or_takes_are_refused_or_taken():
    inputs, labels = table()
    for estimator in (RandomForestClassifier(3), GradientBoostingClassifier(n_estimators=3)):
        estimator.fit(inputs, labels)
        for bad in (np.nan, np.inf, 1e308):
            rows = inputs.head(3).copy()
            rows.iloc[1, 2] = bad
            try:
                right = estimator.predict(rows)
            except ValueError as error:
                with pytest.raises(ValueError, match=str(error).splitlines()[0][:40]):
                    Exact(estimator).predict(rows)
            else:
                assert (Exact(estimator).predict(rows) == right).all()


def test_what_is_no_forest_is_not_summed():
    inputs, labels = table()
    with pytest.raises(Unfit, match="LogisticRegression is no forest"):
        Exact(make_pipeline(StandardScaler(), LogisticRegression()).fit(inputs, labels))


class OfTheBatch(TransformerMixin, BaseEstimator):
    """Centres on the mean of the rows it is given, as a careless transformer does."""

    def fit(self, rows, labels=None):
        self.fitted_ = True
        return self

    def transform(self, rows):
        return rows - rows.mean()


def test_rows_that_depend_on_their_company_are_found_out():
    inputs, labels = table()
    careless = make_pipeline(OfTheBatch(), DecisionTreeClassifier(random_state=0)).fit(inputs, labels)
    proof = choice.prove_rows(Pipeline(careless), inputs.head(50))
    assert not proof.equal
    assert "alone is judged differently" in proof.why_not
    good = make_pipeline(StandardScaler(), LogisticRegression()).fit(inputs, labels)
    assert choice.prove_rows(Pipeline(good), inputs.head(50)).equal


def test_one_row_proves_nothing():
    inputs, labels = table()
    pipeline = Pipeline(DecisionTreeClassifier().fit(inputs, labels))
    assert "too few rows" in choice.prove_rows(pipeline, inputs.head(1)).why_not


def manifest(*proofs):
    return Manifest(
        name="m", version=1, created_at=0.0, python="", libraries={}, signature=Signature((), None, "y"), metrics={},
        training=Training(rows=0, data_sha256="", seconds=0.0, parameters={}), trusted=(), members=(), sample_rows=0,
        proofs=proofs,
    )  # fmt: skip


def test_only_a_proved_engine_is_chosen():
    inputs, labels = table()
    estimator = RandomForestClassifier(3).fit(inputs, labels)
    proved = manifest(Proof(engine="exact", equal=True, rows=9))
    refuted = manifest(Proof(engine="exact", equal=False, rows=9, why_not="3 of 9 predictions differ"))
    assert choice.choose(proved, "auto", estimator, None).name == "exact"
    assert choice.choose(proved, "pipeline", estimator, None).name == "pipeline"
    assert choice.choose(refuted, "auto", estimator, None).name == "pipeline"
    assert choice.choose(manifest(), "auto", estimator, None).name == "pipeline"
    with pytest.raises(UsageError) as refused:
        choice.choose(refuted, "exact", estimator, None)
    assert "3 of 9 predictions differ" in refused.value.said
    with pytest.raises(UsageError, match="not tried"):
        choice.choose(proved, "onnx", estimator, None)


def test_onnx_gives_equal_labels_and_tells_how_far_its_scores_are_off():
    pytest.importorskip("skl2onnx", reason="the extra onnx is not installed")
    inputs, labels = table()
    pipeline = make_pipeline(StandardScaler(), RandomForestClassifier(7, random_state=0)).fit(inputs, labels)
    found = choice.proved(pipeline, inputs, [], ["onnx"])
    (proof,) = found.proofs
    assert proof.equal, proof.why_not
    assert 0 <= proof.difference < 1e-5
    engine = choice.build("onnx", pipeline, found.onnx)
    assert (engine.predict(inputs) == pipeline.predict(inputs)).all()
