"""Symbols of real libraries, from their files and from memory; and what garbage does to the parser."""

import ctypes
import os
import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.kernel import elf, maps
from pellucid.kernel.memory import Memory

HERE = os.getpid()


def image(name):
    """The first mapping of a library that this process has loaded."""
    return next(each for each in maps.read(HERE) if name in each.path.rpartition("/")[2] and not each.offset)


def real_address(function):
    return ctypes.cast(function, ctypes.c_void_p).value


@pytest.mark.parametrize("name", ["process_vm_readv", "getpid", "mmap"])
def test_an_exported_symbol_lies_where_the_loader_put_it(name):
    libc = image("libc.so")
    with Memory.open(HERE) as memory:
        found = elf.mapped(memory, libc.start)
        (place,) = found.exported([name]).values()
    assert place + found.bias(libc.start) == real_address(getattr(ctypes.CDLL(None), name))
    assert elf.symbols(libc.path, [name]) == {name: place}


def test_a_name_that_is_not_there_is_left_out():
    libc = image("libc.so")
    assert elf.symbols(libc.path, ["no_such_function", "", "getpi"]) == {}
    with Memory.open(HERE) as memory:
        assert elf.mapped(memory, libc.start).exported(["no_such_function"]) == {}


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """A program that exports nothing, with a variable of its own and one in a section of its own."""
    if not shutil.which("gcc"):
        pytest.skip("no gcc here")
    folder = tmp_path_factory.mktemp("elf")
    source = folder / "program.c"
    source.write_text(
        'int own_variable = 7;\nint x_own_variable = 8;\n__attribute__((section(".Own"))) int other = 9;\nint main(void) { return own_variable + other; }\n'
    )
    subprocess.run(["gcc", str(source), "-o", str(folder / "program")], check=True, timeout=60)
    return folder / "program"


def test_static_symbols_and_sections_of_a_program_that_exports_nothing(program, tmp_path):
    with elf.ElfFile(str(program)) as found:
        assert found.exported(["own_variable"]) == {}
        variable = found.static(["own_variable"])["own_variable"]
        at, size = found.section(".Own")
        assert size == 4
        assert found.section(".Ow") is None
        loaded = next(part for part in found._loads if part[3] <= variable < part[3] + part[5])
        assert program.read_bytes()[loaded[2] + variable - loaded[3] :][:4] == b"\7\0\0\0"
        assert elf.symbols(str(program), ["own_variable", "other"]) == {"own_variable": variable, "other": at}
    stripped = tmp_path / "stripped"
    subprocess.run(["strip", str(program), "-o", str(stripped)], check=True)
    with elf.ElfFile(str(stripped)) as found:
        assert found.static(["own_variable"]) == {}
        assert found.section(".Own") == (at, size)


def test_what_is_no_elf_file_is_said_to_be_none(tmp_path):
    for content in (b"", b"#!/bin/sh\n", b"\x7fELF", b"\x7fELF\x01\x01" + bytes(100), b"\x7fELF\x02\x01" + bytes(58)):
        path = tmp_path / "file"
        path.write_bytes(content)
        with pytest.raises(elf.NotElf):
            elf.symbols(str(path), ["x"])
    with pytest.raises(FileNotFoundError):
        elf.symbols(str(tmp_path / "absent"), ["x"])


def looked_up(content):
    """Everything that is asked of a file; NotElf is the one error that may come."""

    def read(position, size):
        found = content[position : position + size] if position >= 0 and 0 <= size <= elf.MAX_TABLE else b""
        if len(found) != size:
            raise elf.NotElf("short")
        return found

    for base in (None, 0x5000):
        try:
            found = elf.Elf(read, base)
            found.exported(["_PyRuntime"])
            found.static(["_PyRuntime"])
            found.section(".PyRuntime")
        except elf.NotElf:
            pass


@settings(max_examples=300, deadline=2000)
@given(st.binary(max_size=2000))
def test_garbage_after_the_magic_is_never_more_than_no_elf(content):
    looked_up(b"\x7fELF\x02\x01" + content)


@settings(max_examples=300, deadline=2000)
@given(changes=st.lists(st.tuples(st.integers(0, 15_000), st.binary(min_size=1, max_size=8)), min_size=1, max_size=20))
def test_a_damaged_program_is_never_more_than_no_elf(program, changes):
    content = bytearray(program.read_bytes())
    for place, piece in changes:
        content[place : place + len(piece)] = piece
    looked_up(bytes(content))
