"""Prometheus text, read back by a reader of our own of its grammar."""

import re

from hypothesis import given
from hypothesis import strategies as st

from pellucid.export.prometheus import Family, Sample, text

LINE = re.compile(r'([a-z_]+)\{([a-z]+)="((?:[^"\\\n]|\\["\\n])*)"\} (\S+)')


def test_a_page():
    families = (
        Family("x_bytes", "gauge", "Bytes\nof x.", (Sample(1.5, (("pid", "7"), ("name", 'a"b\\c\nd'))), Sample(2))),
        Family("y_total", "counter", "Nothing yet.", ()),
    )
    assert text(families).splitlines() == [
        "# HELP x_bytes Bytes\\nof x.",
        "# TYPE x_bytes gauge",
        'x_bytes{pid="7",name="a\\"b\\\\c\\nd"} 1.5',
        "x_bytes 2",
    ]


@given(st.text(), st.floats(allow_nan=False, allow_infinity=False))
def test_any_label_comes_back(value, number):
    (line,) = text([Family("x", "gauge", "", (Sample(number, (("l", value),)),))]).split("\n")[2:-1]
    name, label, escaped, told = LINE.fullmatch(line).groups()
    assert (name, label) == ("x", "l")
    assert re.sub(r"\\(.)", lambda found: {"n": "\n"}.get(found[1], found[1]), escaped) == value
    assert float(told) == number
