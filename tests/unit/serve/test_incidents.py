"""Incidents on disk: two files each, the newest stay, a damaged one is a gap."""

import pytest

from pellucid.model.errors import UsageError
from pellucid.model.incident import Incident, LookAt, Served
from pellucid.serve import incidents
from pellucid.serve.incidents import Incidents, lines


def incident(number=1):
    return Incident(
        id=f"i-20261122-0000{number:02d}-42",
        at=1_800_000_000.0 + number,
        pid=42,
        worker=0,
        kind="stuck",
        sentence="worker 0 (pid 42) has been in request r-0-7 (1 row) for 2.0 s of its 2 s",
        cause="predict waits for a lock at faulty.py:31",
        model="loan",
        version=1,
        outcome="replaced",
        client="504",
        request=Served("r-0-7", 1, 2.0),
        rss_bytes=100 << 20,
        looks=(LookAt("half", 1_800_000_000.0, 0.2, "it could not be looked at: EPERM", why_not="EPERM"),),
    )


@pytest.fixture
def kept(tmp_path):
    return Incidents(str(tmp_path / "incidents"))


def test_saved_and_loaded_and_listed(kept):
    for number in (1, 2):
        kept.save(incident(number))
    assert kept.load(incident(1).id) == incident(1)
    rows, gaps = kept.newest(10)
    assert [row.id for row in rows] == [incident(2).id, incident(1).id]
    assert gaps == ()
    with open(f"{kept.root}/{incident(1).id}.txt", encoding="utf-8") as file:
        assert file.read().splitlines() == lines(incident(1))


def test_the_text_has_what_happened_why_and_both_looks():
    told = "\n".join(lines(incident()))
    for part in ("r-0-7, 1 row, 2.0 s", "faulty.py:31", "at half the deadline", "not seen: EPERM", "100 MiB", "504"):
        assert part in told


def test_only_the_newest_stay(kept, monkeypatch):
    monkeypatch.setattr(incidents, "KEPT", 3)
    for number in range(6):
        kept.save(incident(number))
    assert kept.ids() == [incident(number).id for number in (5, 4, 3)]


def test_a_damaged_one_is_a_gap(kept):
    kept.save(incident(1))
    kept.save(incident(2))
    with open(f"{kept.root}/{incident(1).id}.json", "w", encoding="utf-8") as file:
        file.write("{")
    rows, gaps = kept.newest(10)
    assert [row.id for row in rows] == [incident(2).id]
    assert gaps[0].what == f"incident {incident(1).id}"
    with pytest.raises(UsageError, match="is damaged"):
        kept.load(incident(1).id)


def test_names_can_not_lead_out_of_the_folder(kept):
    for name in ("../../etc/passwd", "i-1\0", "", "I-1"):
        with pytest.raises(UsageError, match="none of that name"):
            kept.load(name)
