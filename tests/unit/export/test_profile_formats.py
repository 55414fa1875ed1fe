"""Each format is read by somebody else's reader: speedscope's published schema, Datadog's pprof decoder; and none loses time."""

import json
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import jsonschema
import msgspec
import pytest

from pellucid.export import profiles
from pellucid.export.profiles import FORMATS, encode
from pellucid.model.profile import Run
from tests.unit.export.build import MS, empty, hostile, ordinary, recursion

VIEWERS = Path(__file__).parents[2] / "viewers"
INSTALL = "run scripts/install_test_tools.sh"
needs_viewers = pytest.mark.skipif(
    not (VIEWERS / "node_modules/speedscope").is_dir() or shutil.which("node") is None,
    reason=f"speedscope and pprof-format are not installed: {INSTALL}",
)
EVERY = [ordinary, hostile, empty, recursion]


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("made", EVERY)
def test_every_profile_has_every_format_and_is_the_same_twice(made, name):
    profile = made()
    assert encode(profile, name) == encode(profile, name)


@pytest.mark.parametrize("name", FORMATS)
def test_an_archive_gives_what_the_profile_itself_gives(name):
    kept = profiles.decode(encode(ordinary(), "pellucid"), "kept.pellucid")
    assert encode(kept, name) == encode(ordinary(), name)


@pytest.mark.parametrize("path", ["slow.pellucid", "a.speedscope.json", "b.json", "c.trace.json", "d.pb.gz", "e.html"])
def test_the_suffix_names_the_format(path):
    suffix, _ = FORMATS[profiles.format_of(path)]
    assert path.partition(".")[2] == suffix.removeprefix(".")


@pytest.mark.parametrize("name", ["collapsed", "speedscope", "gecko", "chrome"])
def test_text_that_a_process_chose_can_do_nothing_to_a_terminal(name):
    text = encode(hostile(), name).decode()
    assert not any(sign in text for sign in "\x1b\u202e\u2028"), "an escape sequence or a direction mark came through"
    assert "\\u001b" not in text
    assert "日本" in text, "letters of any script are no harm"


def test_collapsed_is_one_line_a_stack_in_microseconds():
    lines = encode(ordinary(), "collapsed").decode().splitlines()
    assert lines[0] == "app (400);wait (threading.py:655) 1000000"
    assert "app (400);<module> (main.py:30);work (main.py:12);parse (parsing.py:7) 600000" in lines
    assert "app (400);<module> (main.py:30);work (main.py:12);(moving) 10000" in lines
    assert lines[-2] == "child (410);(no Python) 50000"
    alone = msgspec.structs.replace(ordinary(), tracks=ordinary().tracks[:1])
    assert encode(alone, "collapsed").startswith(
        b"<module> (main.py:30);work (main.py:12);parse (parsing.py:7) 600000\n"
    )


def test_a_semicolon_in_a_name_does_not_make_two_frames():
    (line,) = encode(hostile(), "collapsed").decode().splitlines()
    assert ";" not in line
    assert line.endswith(" 30000")


@needs_viewers
@pytest.mark.parametrize("made", EVERY)
def test_speedscope_says_that_it_is_its_format(made):
    schema = json.loads((VIEWERS / "node_modules/speedscope/dist/release/file-format-schema.json").read_text())
    jsonschema.validate(json.loads(encode(made(), "speedscope")), schema)


def test_speedscope_has_a_profile_for_each_thread_and_neighbours_are_one():
    told = json.loads(encode(ordinary(), "speedscope"))
    main = next(one for one in told["profiles"] if "400/400" in one["name"])
    assert len(main["samples"]) == 5, "two runs of one stack are one sample"
    assert sum(main["weights"]) == main["endValue"] == 1000 * MS
    innermost = Counter()
    for sample, weight in zip(main["samples"], main["weights"], strict=True):
        innermost[told["shared"]["frames"][sample[-1]]["name"]] += weight
    assert innermost == {"parse": 600 * MS, "render": 290 * MS, "<module>": 100 * MS, "(moving)": 10 * MS}


def pprof(profile):
    command = ["node", str(VIEWERS / "decode_pprof.mjs")]
    read = subprocess.run(command, input=encode(profile, "pprof"), capture_output=True, check=True, timeout=30)
    return json.loads(read.stdout)


@needs_viewers
def test_a_decoder_of_pprof_reads_the_same_time_and_frames():
    told = pprof(ordinary())
    assert told["types"] == [["samples", "count"], ["wall", "nanoseconds"]]
    assert (told["period"], told["preferred"]) == (["wall", "nanoseconds", 10 * MS], "wall")
    assert (told["time"], told["duration"]) == ("1790000000500000000", 1000 * MS)
    parse = next(one for one in told["samples"] if one["frames"][0][0] == "parse")
    assert parse["values"] == [60, 600 * MS]
    assert parse["frames"] == [
        ["parse", "/srv/app/parsing.py", 7],
        ["Job.work", "/srv/app/main.py", 12],
        ["<module>", "/srv/app/main.py", 30],
    ]
    assert parse["labels"] == {"thread": "MainThread", "tid": 400, "pid": 400, "process": "app", "state": "running"}
    assert sum(one["values"][1] for one in told["samples"]) == 2050 * MS


@needs_viewers
def test_a_decoder_of_pprof_reads_large_numbers_and_any_text():
    profile = hostile()
    track = msgspec.structs.replace(profile.tracks[0], runs=(Run(0, 0, 3, 2**52),))
    (sample,) = pprof(msgspec.structs.replace(profile, tracks=(track,)))["samples"]
    assert sample["values"] == [3, 2**52]
    assert "日本" in sample["frames"][0][0]
    assert pprof(empty())["samples"] == []


@pytest.mark.parametrize("made", EVERY)
def test_the_tables_of_gecko_fit_each_other(made):
    """As docs-developer/processed-profile-format.md of firefox-devtools/profiler describes them."""
    told = json.loads(encode(made(), "gecko"))
    assert told["meta"]["preprocessedProfileVersion"] == 48
    grey = [one for one in told["meta"]["categories"] if one["color"] == "grey"]
    assert len(grey) == 1, "the viewer needs exactly one default category"
    weights = {}
    for thread in told["threads"]:
        for name in ("samples", "stackTable", "frameTable", "funcTable", "resourceTable", "nativeSymbols", "markers"):
            table = thread[name]
            columns = {key: value for key, value in table.items() if isinstance(value, list)}
            assert {len(column) for column in columns.values()} == {table["length"]}, name
        stacks, frames, functions = thread["stackTable"], thread["frameTable"], thread["funcTable"]
        assert all(0 <= stack < stacks["length"] for stack in thread["samples"]["stack"])
        assert all(prefix is None or prefix < at for at, prefix in enumerate(stacks["prefix"]))
        assert all(0 <= frame < frames["length"] for frame in stacks["frame"])
        assert all(0 <= function < functions["length"] for function in frames["func"])
        strings = thread["stringArray"]
        assert all(0 <= name < len(strings) for name in functions["name"])
        assert all(-1 <= resource < thread["resourceTable"]["length"] for resource in functions["resource"])
        assert isinstance(thread["pid"], str)
        assert thread["samples"]["time"] == sorted(thread["samples"]["time"])
        weights[thread["pid"], thread["tid"]] = sum(thread["samples"]["weight"])
    if made is ordinary:
        assert weights == {("400", 400): 1000.0, ("400", 401): 1000.0, ("410", 410): 50.0}


@pytest.mark.parametrize("made", EVERY)
def test_the_slices_of_a_chrome_trace_are_nested_and_in_order(made):
    told = json.loads(encode(made(), "chrome"))
    opened, before, spent = {}, {}, Counter()
    for event in told["traceEvents"]:
        thread = event["pid"], event["tid"]
        if event["ph"] == "M":
            assert event["args"]["name"]
            continue
        assert event["ts"] >= before.get(thread, 0), (
            "a caller comes before its callees, and what was earlier before what was later"
        )
        before[thread] = event["ts"]
        stack = opened.setdefault(thread, [])
        while stack and stack[-1] <= event["ts"] + 1e-6:
            stack.pop()
        end = event["ts"] + event["dur"]
        assert event["dur"] > 0
        assert not stack or end <= stack[-1] + 1e-6, "a callee that outlives its caller"
        stack.append(end)
        spent[event["name"]] += event["dur"]
    if made is ordinary:
        assert spent["parse (parsing.py)"] == pytest.approx(600_000)
        assert spent["render (runtime.py)"] == pytest.approx(290_000), "two lines of one function are one slice"
        assert spent["<module> (main.py)"] == pytest.approx(1_000_000)


def test_samples_in_any_order_and_without_a_count_are_no_matter():
    profile = ordinary()
    runs = (*reversed(profile.tracks[0].runs), Run(5 * MS, 0, 0, 3 * MS, "running"))
    mixed = msgspec.structs.replace(profile, tracks=(msgspec.structs.replace(profile.tracks[0], runs=runs),))
    kept = profiles.decode(encode(mixed, "pellucid"), "kept.pellucid")
    for name in FORMATS:
        assert encode(kept, name)
    assert b"<module> (main.py:30) 103000\n" in encode(kept, "collapsed")


def test_a_hole_in_the_samples_ends_every_slice():
    profile = ordinary()
    runs = (Run(0, 2, 10, 100 * MS), Run(500 * MS, 2, 10, 100 * MS))
    track = msgspec.structs.replace(profile.tracks[0], runs=runs)
    told = json.loads(encode(msgspec.structs.replace(profile, tracks=(track,)), "chrome"))
    parse = [(event["ts"], event["dur"]) for event in told["traceEvents"] if event["name"].startswith("parse ")]
    assert parse == [(0, 100_000), (500_000, 100_000)]


def test_the_help_and_the_guide_name_every_format():
    from pellucid.present.cli.profile import command

    (option,) = [one for one in command.params if one.name == "form"]
    guide = (Path(__file__).parents[3] / "docs/profile.md").read_text()
    for name, (suffix, _) in FORMATS.items():
        assert name in option.help
        assert f"| `{suffix}` |" in guide
