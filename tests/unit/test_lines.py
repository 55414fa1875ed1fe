"""The lines of every code object of some large modules, against what the interpreter itself decodes; and garbage."""

import argparse
import ast
import dataclasses
import subprocess
import time
import types

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.runtimes.cpython.lines import Lines


def codes(code):
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from codes(constant)


@pytest.mark.parametrize("module", [argparse, ast, dataclasses, subprocess])
def test_each_instruction_has_the_line_that_the_interpreter_gives_it(module):
    with open(module.__file__, "rb") as source:
        whole = compile(source.read(), module.__file__, "exec")
    count = 0
    for code in codes(whole):
        lines = Lines(code.co_linetable, code.co_firstlineno)
        for start, end, line in code.co_lines():
            for place in range(start, end, 2):
                assert lines.at(place // 2) == line
                count += 1
        assert lines.at(-1) == code.co_firstlineno  # a frame that has not begun
        assert lines.at(len(code.co_code) // 2) is None
    assert count > 1000


@settings(max_examples=500, deadline=1000)
@given(table=st.binary(max_size=3000), first=st.integers(-(2**31), 2**31 - 1), unit=st.integers(-5, 30_000))
def test_garbage_gives_some_line_or_none(table, first, unit):
    line = Lines(table, first).at(unit)
    assert line is None or isinstance(line, int)


def test_a_table_of_continuations_takes_no_time():
    began = time.process_time()
    Lines(b"\xf0" + b"\xff" * 1_000_000, 1)
    Lines(b"\xff" * 1_000_000, 1)
    assert time.process_time() - began < 5
