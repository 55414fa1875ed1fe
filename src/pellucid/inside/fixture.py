"""A pytest fixture that records the test which asks for it. `pytest_plugins = ["pellucid.inside.fixture"]` in conftest.py brings it.

`def test_slow(profiler): ...` records from then on; a failure shows the hottest functions. `@pytest.mark.profiler(0.001, clock="prof")`
chooses as `pellucid.Profiler` does; the clock is "thread" if it does not, since pytest-timeout has the timer of "real". `pytest --profile-to DIRECTORY` writes DIRECTORY/TEST.html for each of these tests.
"""

import os
import re
from collections.abc import Iterator

import pytest

from pellucid.inside.profiler import Profiler
from pellucid.model.hot import hottest
from pellucid.model.profile import Profile

_SHOWN = 5


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--profile-to",
        metavar="DIRECTORY",
        help="Write DIRECTORY/TEST.html, a flame graph, for each test with the fixture `profiler`.",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "profiler(interval, clock): how the fixture `profiler` of pellucid samples.")


@pytest.fixture
def profiler(request: pytest.FixtureRequest) -> Iterator[Profiler]:
    """A `pellucid.Profiler` that records until the test ends."""
    marker = request.node.get_closest_marker("profiler")
    recording = Profiler(*marker.args, **marker.kwargs) if marker is not None else Profiler(clock="thread")
    recording.start()
    try:
        yield recording
    finally:
        if recording.recording:
            recording.stop()
    profile = recording.profile
    request.node.add_report_section("teardown", "profile", _told(profile))
    directory = request.config.getoption("--profile-to")
    if directory:
        os.makedirs(directory, exist_ok=True)
        name = re.sub(r"[^\w.=-]+", "_", request.node.nodeid).strip("_")[:150]
        recording.save(os.path.join(directory, f"{name}.html"), force=True)


def _told(profile: Profile) -> str:
    whole = sum(run.weight_ns for track in profile.tracks for run in track.runs) or 1
    lines = [f"{profile.taking.taken} samples in {profile.duration_ns / 1e9:.2f} s"]
    lines += [
        f"{hot.self_ns / whole:6.1%} own {hot.total_ns / whole:6.1%} in all  {hot.qualname} ({hot.file}:{hot.line})"
        for hot in hottest(profile, lambda _: True, _SHOWN)
    ]
    return "\n".join(lines)
