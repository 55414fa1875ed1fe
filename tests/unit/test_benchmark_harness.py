"""The numbers in benchmarks/RESULTS.md rest on these few functions."""

import sys

import pytest

from benchmarks import dump, harness, load, machine


def run(wall_s=1.0, error=""):
    return harness.Run(wall_s=wall_s, cpu_s=0.5, error=error)


def test_every_round_runs_each_contender_once_and_begins_with_another():
    order = []
    contenders = {name: lambda name=name: order.append(name) or name for name in "ABC"}
    results = harness.interleave(contenders, 3, warm_up=0)
    assert "".join(order) == "ABCBCACAB"
    assert results == {name: [name] * 3 for name in "ABC"}


def test_warm_up_rounds_run_and_are_forgotten():
    calls = []
    results = harness.interleave({"A": lambda: calls.append(1) or len(calls)}, 2, warm_up=3)
    assert results == {"A": [4, 5]}


def test_a_spread_is_a_median_with_its_extremes():
    assert harness.spread([0.3, 0.1, 0.2]) == harness.Spread(0.2, 0.1, 0.3, 3)
    assert harness.spread([0.0123, 0.0119, 0.014]).text(1000) == "12.3 (11.9–14.0)"
    assert harness.spread([]).text() == "–"


def test_ratios_compare_inside_a_round():
    # A machine that slows down tenfold in the last round changes no ratio.
    assert harness.ratios([1.0, 2.0, 30.0], [2.0, 4.0, 60.0]) == harness.Spread(0.5, 0.5, 0.5, 3)


def test_a_round_in_which_one_failed_gives_no_ratio():
    ours = harness.good([run(1.0), run(2.0, error="ended with 1")], lambda one: one.wall_s)
    assert ours == [1.0, None]
    assert harness.ratios(ours, [4.0, 4.0]) == harness.Spread(0.25, 0.25, 0.25, 1)


def test_failures_are_counted_with_the_first_reason():
    assert harness.errors([run(), run()]) == "0"
    assert harness.errors([run(), run(error="ended with 3"), run(error="other")]) == "2 of 3: ended with 3"


def test_a_command_that_ends_well():
    ended = harness.command([sys.executable, "-c", "import sys; print('out'); print('err', file=sys.stderr)"])
    assert (ended.run.error, ended.output, ended.progress) == ("", "out\n", "err\n")
    assert 0 < ended.run.cpu_s < 30
    assert 0 < ended.run.wall_s < 60


def test_a_command_that_fails_says_its_last_line():
    ended = harness.command([sys.executable, "-c", "import sys; print('why', file=sys.stderr); sys.exit(4)"])
    assert ended.run.error == "ended with 4: why"


def test_a_command_that_hangs_is_killed_at_its_deadline():
    ended = harness.command([sys.executable, "-c", "import time; time.sleep(60)"], timeout_s=0.2)
    assert ended.run.error == "did not end within 0 s"
    assert ended.run.wall_s < 30


def test_cpu_of_children_counts(tmp_path):
    burn = "import time\nwhile time.process_time() < 0.2: pass"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn!r}])"
    assert harness.command([sys.executable, "-c", parent]).run.cpu_s >= 0.2


def test_the_environment_of_a_run_has_nothing_that_changes_how_python_starts(monkeypatch):
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("LEFT_ALONE", "yes")
    environment = harness.clean_environment(ADDED="too")
    assert "PYTHONDONTWRITEBYTECODE" not in environment
    assert environment["LEFT_ALONE"] == "yes"
    assert environment["ADDED"] == "too"


def test_a_table_escapes_what_would_end_a_cell():
    assert harness.table(["a", "b"], [["1|2", "3"]]) == "| a | b |\n| --- | --- |\n| 1\\|2 | 3 |\n"


def test_one_section_is_renewed_and_the_others_stay():
    text = harness.replace_section("# Results\n\nhead\n", "dump", "first")
    text = harness.replace_section(text, "serve", "### part\n\nother")
    text = harness.replace_section(text, "dump", "second\n")
    assert text == "# Results\n\nhead\n\n## dump\n\nsecond\n\n## serve\n\n### part\n\nother\n"


def test_modules_are_read_from_importtime():
    printed = """\
import time: self [us] | cumulative | imported package
import time:       111 |        111 |   zipimport
something else
import time:        90 |        400 | encodings.utf_8
"""
    assert dump.imported(printed) == ["zipimport", "encodings.utf_8"]


def test_the_head_of_a_section_names_machine_and_versions():
    head = machine.described(["msgspec"], programs=["wrk 4.1"])
    assert "Linux" in head
    assert "load average" in head
    assert "msgspec " in head
    assert "wrk 4.1" in head


@pytest.mark.parametrize(("share", "expected"), [(0.5, 2.0), (0.99, 4.0)])
def test_percentiles(share, expected):
    assert load.percentile([4.0, 1.0, 2.0, 3.0], share) == expected


def test_percentile_of_nothing():
    assert load.percentile([], 0.5) == 0
