"""`why` about memory that grows in its window, and about healthy windows."""

import pytest

from pellucid.diagnose.rules.memory_grows import memory_grows
from pellucid.model import MemoryGrowth, OverTime
from pellucid.model.holder import Hold, Suspect, TypeGrowth
from tests.unit.rules.build import snapshot

MIB = 1 << 20
SESSIONS = (
    TypeGrowth("dict", False, 9000, 90 * MIB, 900, 9 * MIB),
    TypeGrowth("shop.Session", True, 8000, 10 * MIB, 800, MIB),
)
CACHE = Suspect(
    holder=(Hold("class", "Registry", "type"), Hold("attribute", "_cache", "dict")),
    holder_type="dict",
    held_type="shop.Session",
    held_count=8000,
    retained_bytes=90 * MIB,
    share=0.9,
    length=8000,
    keys="str",
    limit=None,
    sentence="",
    grown_count=800,
    grown_bytes=9 * MIB,
)


def told(sizes, **changes):
    sizes = [int(one * MIB) for one in sizes]
    at_s = [2.0 * number / (len(sizes) - 1) for number in range(len(sizes))]
    growth = MemoryGrowth(seconds=2.0, bytes=tuple(sizes), at_s=tuple(at_s), **changes)
    return list(memory_grows(snapshot(over_time=OverTime(seconds=2.0, memory=growth))))


def test_python_objects_with_their_holder():
    (found,) = told(
        range(50, 70),
        types=SESSIONS,
        types_s=1.2,
        python_bytes=10 * MIB,
        private_bytes=11 * MIB,
        suspects=(CACHE,),
    )
    assert found.title == "its memory grows by 9.5 MiB a second: shop.Session objects become more"
    assert "shop.Session +800, dict +900" in found.sentence
    assert "They hang on class Registry → _cache (dict), which has 8,000 shop.Session now, +800." in found.sentence
    assert (found.severity, found.confidence) == ("notice", "likely")
    assert "pellucid heap 41 --every 10" in found.next


def test_a_limit_that_is_met_soon_is_a_warning():
    (found,) = told(range(50, 70), limit_bytes=512 * MIB, group_bytes=322 * MIB)
    assert found.severity == "warning"
    assert "is met in 20 s" in found.sentence
    (far,) = told(range(50, 70), limit_bytes=1 << 40, group_bytes=322 * MIB)
    assert far.severity == "notice"


def test_native_memory_is_not_given_to_python():
    (found,) = told(range(50, 70), types=SESSIONS, types_s=1.2, python_bytes=MIB, private_bytes=11 * MIB)
    assert "the rest is native memory" in found.sentence
    assert "Session" not in found.title


def test_above_the_limit_of_a_copy_it_says_what_to_run():
    (found,) = told(range(5000, 5200, 10), why_no_types="that is more than the 1,024 MB that were allowed")
    assert "pellucid heap 41 --every 10 tells" in found.sentence


@pytest.mark.parametrize(
    "sizes",
    [
        [50] * 20,
        [50 + min(number, 8) for number in range(20)],
        range(70, 50, -1),
        [50, 50.2, 50.1, 50.3],
        [50, 60],
        [5000 + number for number in range(20)],
    ],
)
def test_healthy_windows(sizes):
    assert not told(sizes)
    assert not list(memory_grows(snapshot()))
