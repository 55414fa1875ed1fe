"""What is told of a profile: sums over stacks whose answers are known."""

from pellucid.export import profiles
from pellucid.model import Frame
from pellucid.model.hot import hottest, path, slept
from pellucid.model.profile import Taking
from pellucid.model.recorder import Recorder

TAKING = Taking(interval_ns=10, asked=0, taken=0, missed=0, unstable=0, failed=0, cpu_s=0.0, wall_s=1.0)


def frame(name, line, file="app.py"):
    return Frame(name, name, file, line)


def profile(*samples):
    """Each sample: (thread, state, frames outermost first)."""
    recorder = Recorder("wall", "app.py", 0.0, interval_ns=10)
    for number, (tid, state, frames) in enumerate(samples):
        recorder.add(1, tid, f"thread {tid}", reversed(frames), state, at_ns=10 * number)
    return recorder.profile(10 * len(samples), TAKING)


MAIN = frame("main", 1)


def test_equal_neighbours_are_one_run():
    seen = profile((1, "running", [MAIN]), (1, "running", [MAIN]), (1, "waiting", [MAIN]), (1, "running", [MAIN]))
    (track,) = seen.tracks
    assert [(run.at_ns, run.samples, run.weight_ns, run.state) for run in track.runs] == [
        (0, 2, 20, "running"),
        (20, 1, 10, "waiting"),
        (30, 1, 10, "running"),
    ]
    assert len(seen.stacks) == len(seen.frames) == 1


def test_recursion_counts_once_in_the_total():
    deep = [MAIN, frame("walk", 5), frame("walk", 6), frame("walk", 6), frame("leaf", 9)]
    seen = profile((1, "running", deep), (1, "running", deep[:-1]))
    by_name = {hot.function: hot for hot in hottest(seen)}
    assert (by_name["walk"].self_ns, by_name["walk"].total_ns) == (10, 20)
    assert (by_name["main"].self_ns, by_name["main"].total_ns) == (0, 20)
    assert by_name["walk"].line == 6


def test_a_thread_that_sleeps_does_not_hide_the_one_that_runs():
    idle = [frame("wait", 3, "threading.py")]
    seen = profile((1, "running", [MAIN]), *((tid, "waiting", idle) for tid in range(2, 50)))
    assert [hot.function for hot in hottest(seen)] == ["main"]
    assert [hot.function for hot in hottest(seen, slept)] == ["wait"]


def test_the_path_follows_the_heaviest_callee_and_ends_where_the_time_is():
    seen = profile(
        (1, "running", [MAIN, frame("a", 2), frame("b", 3)]),
        (1, "running", [MAIN, frame("a", 2), frame("b", 4)]),
        (1, "running", [MAIN, frame("c", 7)]),
    )
    assert [(step.frame.function, round(step.share, 2)) for step in path(seen)] == [
        ("main", 1.0),
        ("a", 0.67),
        ("b", 0.67),
    ]
    assert path(profile()) == ()


def test_json_is_read_back():
    seen = profile((1, "running", [MAIN, frame("ünï\x1b[31m", 2)]))
    assert profiles.decode(profiles.encode(seen, "json"), "x.json") == seen


def test_the_longest_suffix_says_the_format():
    assert profiles.format_of("out/x.json") == "json"
    assert profiles.format_of("x.txt") is None
