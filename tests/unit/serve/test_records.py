"""JSON into typed records: the quick way and the careful way must agree on every body."""

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.serve.forms import mlflow
from pellucid.serve.records import BadInput, Reader
from pellucid.serve.signature import Column, Signature

SIGNATURE = Signature(
    (
        Column("amount", "number", nullable=False),
        Column("term", "number", nullable=True),
        Column("count", "whole", nullable=False),
        Column("area", "text", nullable=False, categories=("Rural", "Urban")),
        Column("note", "text", nullable=True),
        Column("member", "boolean", nullable=False),
    ),
    id_column="key",
    target="granted",
)
READER = Reader(SIGNATURE, max_rows=3)
GOOD = {"key": "a", "amount": 1.5, "term": 2, "count": 3, "area": "Urban", "note": "x", "member": True}


def read(record):
    return READER.read(msgspec.json.encode(record))


def values(record):
    return [getattr(record, f"c{place}") for place in range(len(SIGNATURE.columns))]


def refused(*records):
    with pytest.raises(BadInput) as caught:
        READER.read(msgspec.json.encode(list(records)))
    return {".".join(map(str, problem.loc[1:])): problem.msg for problem in caught.value.problems}


def test_a_good_record():
    (record,) = read([GOOD])
    assert values(record) == [1.5, 2.0, 3, "Urban", "x", True]
    assert record.id == "a"


def test_nullable_columns_may_be_null_or_missing():
    (record,) = read({**{name: value for name, value in GOOD.items() if name != "term"}, "note": None})
    assert values(record) == [1.5, None, 3, "Urban", None, True]


def test_a_whole_number_may_be_written_as_a_float():
    (record,) = read({**GOOD, "count": 3.0})
    assert values(record)[2] == 3
    assert isinstance(values(record)[2], int)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("amount", None, "must not be null; a number is needed"),
        ("amount", "1", "must be a number, not a text"),
        ("amount", 10**400, "out of the range of a 64-bit float"),
        ("count", 2.5, "must be a whole number, as all were in the training data, not 2.5"),
        ("count", 2**63, "out of the range of a 64-bit integer"),
        ("area", "urban", 'must be "Rural" or "Urban", not "urban": the training data had no such category'),
        ("area", "x" * 100, f'not "{"x" * 40}..."'),
        ("note", 1, "must be a text or null, not a number"),
        ("member", 1, "must be true or false, not a number"),
        ("member", "yes", "must be true or false, not a text"),
        ("key", True, "must be a text or a whole number, not a boolean"),
        ("amuont", 1, "is no column of this model; is 'amount' meant?"),
        ("zzz", 1, "is no column of this model"),
    ],
)
def test_a_wrong_value_is_named_in_words(field, value, said):
    if isinstance(value, int) and value > 2**64:
        with pytest.raises(BadInput) as caught:
            READER.check([{**GOOD, field: value}])
        assert said in caught.value.problems[0].msg
        return
    assert said in refused(GOOD, {**GOOD, field: value})[f"1.{field}"]


def test_every_wrong_field_is_named():
    assert set(refused({**GOOD, "amount": "x", "count": "y"}, 3, {})) == {
        "0.amount",
        "0.count",
        "1",
        "2.amount",
        "2.count",
        "2.area",
        "2.member",
    }


def test_too_many_records():
    for body in ([GOOD] * 4, [{}] * 4):
        with pytest.raises(BadInput) as caught:
            read(body)
        assert caught.value.status == 413


def test_a_model_without_ids():
    reader = Reader(Signature((Column("x", "number", nullable=False),), id_column=None, target="y"), 10)
    (record,) = reader.read(b'{"x": 1, "y": 3}')
    assert record.id is None
    with pytest.raises(BadInput):
        reader.read(b'{"x": 1, "id": 3}')


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["Rural", "Urban", "urban", "", "1"]),
)
rows = st.dictionaries(st.sampled_from([*GOOD, "granted", "other"]), st.one_of(scalars, st.lists(scalars, max_size=2)))
near = st.builds(lambda changes: {**GOOD, **changes}, rows)
bodies = st.one_of(rows, near, st.lists(st.one_of(near, rows, scalars), max_size=4))


@given(bodies)
def test_the_quick_and_the_careful_way_agree(body):
    encoded = msgspec.json.encode(body)
    try:
        quick = READER.read(encoded)
    except BadInput as bad:
        quick = (bad.status, bad.problems)
    try:
        careful = READER.check(msgspec.json.decode(encoded))
    except BadInput as bad:
        careful = (bad.status, bad.problems)
    assert _plain(quick) == _plain(careful)


def _plain(result):
    if isinstance(result, tuple):
        return result
    return [(record.id, values(record), [type(value) for value in values(record)]) for record in result]


def test_frames_have_the_types_of_the_signature_whatever_the_records_hold():
    from pellucid.serve.frames import frame

    full = frame(READER, read([GOOD, GOOD]))
    bare = frame(READER, read([{**GOOD, "term": None, "note": None}]))
    mixed = frame(READER, read([GOOD, {**GOOD, "term": None, "note": None}]))
    assert list(full.dtypes) == list(bare.dtypes) == list(mixed.dtypes)
    assert list(full.columns) == SIGNATURE.names()
    assert math.isnan(bare["term"][0])
    assert bare["note"].isna()[0]
    assert mixed["note"].tolist()[0] == "x"
    assert frame(READER, []).shape == (0, 6)


def test_rows_of_a_table_become_records_again():
    from pellucid.serve.frames import frame, rows

    records = [GOOD, {**GOOD, "key": "b", "term": None, "note": None}]
    table = frame(READER, read(records)).assign(key=["a", "b"])
    assert rows(SIGNATURE, table) == records


def test_a_signature_is_read_off_the_training_data():
    import pandas as pd

    from pellucid.model.errors import UsageError
    from pellucid.serve.signature import infer

    data = pd.DataFrame(
        {
            "key": ["a", "b", "c"],
            "amount": [1.0, 2.0, None],
            "count": [1, 2, 3],
            "area": ["Urban", "Rural", None],
            "note": ["x", "y", "z"],
            "member": [True, False, True],
            "granted": ["Y", "N", "Y"],
            "odd": [1, "x", None],
        }
    )
    found = infer(data, ["amount", "count", "area", "member"], id_column="key", target="granted")
    assert found.columns == (
        Column("amount", "number", nullable=True),
        Column("count", "whole", nullable=False),
        Column("area", "text", nullable=True, categories=("Rural", "Urban")),
        Column("member", "boolean", nullable=False),
    )
    with pytest.raises(UsageError, match="has no column 'nothing'"):
        infer(data, ["nothing"], id_column="key", target="granted")
    with pytest.raises(UsageError, match="it holds int values"):
        infer(data, ["odd"], id_column="key", target="granted")


def test_a_function_takes_rows_of_any_length_by_mlflow_s_form():
    assert mlflow._records({"instances": [[1, 2], [3]]}, []) == [[1, 2], [3]]
    with pytest.raises(BadInput):
        mlflow._records({"instances": [[1, 2], [3]]}, ["a", "b"])


def test_a_column_may_have_any_name():
    names = ['height (")', "back\\slash", "tab\tstop", "c0", "größe"]
    reader = Reader(Signature(tuple(Column(name, "number", nullable=False) for name in names), 'nr "', "y"), 10)
    body = msgspec.json.encode([dict(zip(names, map(float, range(5)), strict=True)) | {'nr "': "a"}])
    (record,) = reader.read(body)
    assert [reader.getters[name](record) for name in names] == [0, 1, 2, 3, 4]
    assert reader.ids(record) == "a"
    with pytest.raises(BadInput) as bad:
        reader.read(b'[{"c0": "x"}]')
    assert [problem.loc[2] for problem in bad.value.problems] == names
