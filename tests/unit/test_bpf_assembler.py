"""Instructions as the kernel's own documents spell them, labels, and what is refused before the kernel sees it."""

import pytest

from pellucid.kernel.bpf_assembler import R0, R1, R2, R6, R10, Assembler
from pellucid.kernel.bpf_records import CALL, PROCESS, Fields


def assembled(write):
    code = Assembler()
    write(code)
    return code.assembled().hex(" ", 8).split()


@pytest.mark.parametrize(
    ("write", "expected"),
    [  # as llvm-mc -triple bpfel prints them
        (lambda code: code.move(R1, R6), "bf61000000000000"),
        (lambda code: code.move(R2, -8), "b7020000f8ffffff"),
        (lambda code: code.add(R2, R10), "0fa2000000000000"),
        (lambda code: code.shift_right(R0, 32), "7700000020000000"),
        (lambda code: code.load(R1, R6, 16), "7961100000000000"),
        (lambda code: code.load(R1, R6, 4, 4), "6161040000000000"),
        (lambda code: code.store(R10, -8, R1), "7b1af8ff00000000"),
        (lambda code: code.store(R10, -4, 7, 4), "620afcff07000000"),
        (lambda code: code.atomic_add(R0, 8, R1), "db10080000000000"),
        (lambda code: code.call(14), "850000000e000000"),
        (lambda code: code.leave(), "9500000000000000"),
    ],
)
def test_an_instruction(write, expected):
    assert assembled(write) == [expected]


def test_a_constant_of_64_bits_takes_two():
    assert assembled(lambda code: code.constant(R1, 0x1122334455667788)) == ["1801000088776655", "0000000044332211"]


def test_jumps_go_to_labels_before_and_after():
    def write(code):
        code.label("again")
        code.jump_if(R1, "==", 0, "out")
        code.jump("again")
        code.label("out")
        code.leave(0)

    assert assembled(write) == ["1501010000000000", "0500feff00000000", "b700000000000000", "9500000000000000"]


def test_a_part_is_called_by_its_distance():
    def write(code):
        code.call_part("part")
        code.leave()
        code.label("part")
        code.leave()

    assert assembled(write)[0] == "8510000001000000"


def test_a_label_that_is_missing_or_set_twice():
    code = Assembler()
    code.jump("nowhere")
    with pytest.raises(ValueError, match="never set"):
        code.assembled()
    code.label("here")
    with pytest.raises(ValueError, match="twice"):
        code.label("here")


def test_a_jump_that_is_too_long():
    code = Assembler()
    code.jump("far")
    for _ in range(0x8000):
        code.move(R0, 0)
    code.label("far")
    with pytest.raises(ValueError, match="instructions long"):
        code.assembled()


def test_fields_lie_where_the_programs_address_them():
    fields = Fields("one:4 two:4 three:8 four:16")
    assert (fields["two"], fields["three"], fields["four"], fields.size) == (4, 8, 16, 32)
    with pytest.raises(ValueError, match="aligned"):
        Fields("one:4 three:8")
    assert PROCESS.unpack(PROCESS.pack(pid=7, runtime=1 << 40))["runtime"] == 1 << 40
    assert CALL["cs"] - CALL["r10"] == 80  # one copy of pt_regs, arch/x86/include/uapi/asm/ptrace.h
