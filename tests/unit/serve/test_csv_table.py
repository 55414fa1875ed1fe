"""What is wrong with a CSV file is said before anything is trained on it, by its line, and with the command that helps."""

import pytest

from pellucid.model.errors import UsageError
from pellucid.serve import csv_table, tabular

ROWS = "".join(f"{number},{number % 7},{'NY'[number % 2]}\n" for number in range(60))


@pytest.mark.parametrize(
    ("content", "said", "remedy"),
    [
        (b"", "it is empty", "header line"),
        (b"a,b,y\n1,2,Y\n1,2\n", "line 3 has 2 fields, and the header 3", "sed -n 3p"),
        (b"a,b,y\n\n1,2,Y,4\n", "line 3 has 4 fields, and the header 3", "sed -n 3p"),
        (b'a,b,y\n1,"x\n', "line 2: unexpected end of data", "sed -n 2p"),
        ("a,b\nä,1\n".encode("latin-1"), "it is not UTF-8: byte 0xe4 in line 2", "iconv -f ISO-8859-1"),
        ("a,b\nä,1\n".encode("utf-16"), "it is UTF-16", "iconv -f UTF-16"),
        (b"a;b;y\n1;2;Y\n", "separated by ';'", "tr ';' ,"),
        (b"a\ty\n1\tY\n", "separated by '\\t'", "tr '\\t' ,"),
        (b"a,b,a\n1,2,3\n", "more than one column is called 'a'", "name of its own"),
        (b"\x7fELF\0\0\0", "it is no text", "header line"),
        (None, "ENOENT", "right path"),
    ],
)
def test_what_is_wrong_is_told(tmp_path, content, said, remedy):
    path = tmp_path / "it is.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError) as refused:
        csv_table.read(str(path))
    assert said in refused.value.said
    assert remedy in refused.value.remedy


def test_a_file_of_excel_and_quoted_lines_are_right(tmp_path):
    path = tmp_path / "it.csv"
    path.write_bytes(b'\xef\xbb\xbfa,b\r\n1,"two\r\nlines, and a comma"\r\n\r\n2,\r\n')
    found = csv_table.read(str(path))
    assert list(found.columns) == ["a", "b"]
    assert found["a"].tolist() == [1, 2]
    assert found["b"][0] == "two\r\nlines, and a comma"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text.replace("N\n", "Y\n"), "every row has the same y: 'Y'"),
        (lambda text: text.replace("59,3,Y", "59,3,Z"), "fewer than 3 rows have the y 'Z'"),
        (
            lambda text: "".join(f"{line}{at}\n" for at, line in enumerate(text.splitlines())),
            "60 different values in 60 rows",
        ),
    ],
)
def test_a_target_of_which_nothing_can_be_learnt(tmp_path, change, said):
    path = tmp_path / "it.csv"
    path.write_text("a,b,y\n" + change(ROWS))
    with pytest.raises(UsageError) as refused:
        tabular.recipe(str(path), target="y", name=None, identity=None, pipeline=None, folds=3)
    assert said in refused.value.said
