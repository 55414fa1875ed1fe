"""Log records: one write each, never longer than a pipe takes whole, never waiting."""

import os

from pellucid.serve.log import PIPE_BUF, Lines, Pipe, Record, Screen, packed


def test_a_record_is_one_line_and_fits_into_a_pipe():
    for trace, sentence in [("", "x"), ("t" * 100_000, "s"), ("", "é" * 100_000), ("\x00" * 9000, "\n" * 9000)]:
        line = packed(Record(level="error", event="e", sentence=sentence, trace=trace))
        assert len(line) <= PIPE_BUF
        assert line.count(b"\n") == 1
        (record,) = Lines().feed(line)
        assert record.event == "e"


def test_a_long_trace_keeps_its_end():
    (record,) = Lines().feed(packed(Record(level="error", event="e", sentence="s", trace="a" * 9000 + "ValueError")))
    assert record.trace.endswith("ValueError")
    assert record.sentence == "s"


def test_lines_are_put_together_and_garbage_is_kept_as_it_is():
    lines = Lines()
    whole = packed(Record(level="info", event="a", sentence="b"))
    assert lines.feed(whole[:10]) == []
    found = lines.feed(whole[10:] + b"no json\n" + whole)
    assert [record.event for record in found] == ["a", "garbled", "a"]
    assert found[1].sentence == "no json"


def test_a_full_pipe_drops_and_counts():
    reading, writing = os.pipe2(os.O_NONBLOCK)
    dropped = []
    pipe = Pipe(writing, lambda: dropped.append(1))
    for _ in range(200):
        pipe.write(Record(level="info", event="a", sentence="x" * 3000))
    assert dropped
    whole = Lines().feed(os.read(reading, 1 << 20))
    assert len(whole) == 200 - len(dropped)
    assert all(record.event == "a" for record in whole)
    os.close(reading)
    os.close(writing)


def test_a_person_reads_lines_without_escape_sequences(capfd):
    screen = Screen(as_json=False)
    screen.tell(Record(level="error", event="died", sentence="worker \x1b[31m died", incident="i-1", trace="a\nb\n"))
    screen.plain(["hint"])
    told = capfd.readouterr().err
    assert "error: worker \\x1b[31m died (incident i-1)\na\nb\nhint\n" in told
    Screen(as_json=True).plain(["hint"])
    assert capfd.readouterr().err == ""
