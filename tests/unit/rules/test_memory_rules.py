"""The rules of `memory`, each on the series of samples on which it fires, and on the healthy look-alike on which it is silent."""

import math

import pytest
from msgspec.structs import replace

from pellucid.diagnose.memory import judge
from pellucid.diagnose.trend import fit
from pellucid.model import Gap, Limit
from pellucid.model.cgroup import MemoryGroup
from pellucid.model.memory import LargeBlock, MemoryMap, MemorySample, MemorySeen, Part, SizeClass
from tests.unit.rules.build import process

MIB = 1 << 20


def table(small=50, pool=None, native=2, free=1, arrays=0, other=0, sizes=(), largest=None, **changes):
    """In MiB."""
    pool = small + 1 if pool is None else pool
    parts = (
        Part("python-small", "Python objects", int(small * MIB)),
        Part("arrays", "NumPy arrays", int(arrays * MIB)),
        Part("malloc-used", "malloc, in use", int(native * MIB)),
        Part("other", "other private mappings", int(other * MIB)),
        Part("files", "mapped files", 10 * MIB, anonymous=False),
    )
    return MemoryMap(
        parts=parts,
        rss_anon_bytes=int((pool + native + free + arrays + other) * MIB),
        known_bytes=int((small + arrays) * MIB),
        pool_bytes=int(pool * MIB),
        pool_used_bytes=int(small * MIB),
        malloc_used_bytes=int(native * MIB),
        malloc_free_bytes=int(free * MIB),
        native_bytes=int(native * MIB),
        array_bytes=int(arrays * MIB),
        sizes=sizes,
        largest=largest,
        **changes,
    )


def sample(at, table, **changes):
    fields = {
        "at_s": at,
        "rss_anon_bytes": table.rss_anon_bytes,
        "rss_file_bytes": 10 * MIB,
        "rss_shmem_bytes": 0,
        "swap_bytes": 0,
        "virtual_bytes": 400 * MIB,
        "minor_faults": int(1000 * at),
        "major_faults": 0,
        "cpu_s": at,
        "threads": 4,
        "descriptors": 20,
        "mappings": 200,
        "known_bytes": table.known_bytes,
        "native_bytes": table.native_bytes,
        "free_bytes": table.pool_bytes - table.pool_used_bytes + table.malloc_free_bytes,
        "array_bytes": table.array_bytes,
        **changes,
    }
    return MemorySample(**fields)


def seen(of, seconds=30.0, count=16, groups=(), limits=(), name="python", runtime="CPython 3.13.0", **more):
    """`of(share of the time)` gives the table, or (table, changes of the sample), at each of `count` moments."""
    samples, tables = [], []
    for number in range(count):
        found = of(number / (count - 1))
        one, changes = found if isinstance(found, tuple) else (found, {})
        tables.append(one)
        samples.append(sample(seconds * number / (count - 1), one, **changes))
    return MemorySeen(
        process=process(name=name, runtime=runtime),
        samples=tuple(samples),
        first=tables[0],
        last=tables[-1],
        groups=tuple(groups),
        limits=tuple(limits),
        **more,
    )


def rules(of, **options):
    _, found = judge(seen(of, **options))
    assert all(finding.evidence for finding in found)
    return {finding.rule: finding for finding in found}


def test_python_objects_that_grow_along_a_line_are_a_heap_leak():
    found = rules(lambda at: table(small=50 + 30 * at))
    assert set(found) == {"heap-leak"}
    assert found["heap-leak"].confidence == "likely"
    assert "grow by 1.0 ± 0.0 MiB a second" in found["heap-leak"].title


def test_a_short_look_leaves_it_open():
    found = rules(lambda at: table(small=50 + 30 * at), seconds=3.0)
    assert found["heap-leak"].confidence == "possible"
    assert "if it goes on" in found["heap-leak"].title
    assert "too short to tell a leak from a warm-up" in found["heap-leak"].sentence


def test_what_comes_with_imported_modules_is_no_leak():
    found = rules(
        lambda at: (table(small=50 + 12 * at, native=2 + 2 * at), {"modules": int(700 + 140 * at)}), seconds=3.0
    )
    assert set(found) == {"growing"}
    assert found["growing"].severity == "info"
    assert "while it imports" in found["growing"].title
    few = rules(lambda at: (table(small=50 + 12 * at), {"modules": int(700 + 6 * at)}), seconds=3.0)
    assert set(few) == {"heap-leak"}, "six modules do not explain 12 MiB"


@pytest.mark.parametrize(
    "size",
    [
        lambda at: 50 + 30 * min(1.0, 3 * at),  # a warm-up, a cache that is full
        lambda at: 50 + 30 * (1 - math.exp(-6 * at)),  # levels off slowly
        lambda at: 50.0,
        lambda at: 80 - 30 * at,
        lambda at: 50 + 5 * math.sin(40 * at),  # a saw of allocation and collection
        lambda at: 50 + 0.5 * at,  # half a MiB
    ],
)
def test_healthy_growth_is_none(size):
    found = rules(lambda at: table(small=size(at)))
    assert set(found) == {"steady"}
    assert found["steady"].severity == "info"


def test_arrays_that_are_held_are_a_heap_leak_too():
    found = rules(lambda at: table(arrays=30 * at))
    assert "NumPy arrays +30.0 MiB" in found["heap-leak"].sentence


def test_blocks_of_one_size_are_a_native_leak():
    found = rules(lambda at: table(native=2 + 40 * at, sizes=(SizeClass(416, int(100_000 * at)),)))
    assert set(found) == {"native-leak"}
    assert "up to 408 bytes became 100,000 more" in found["native-leak"].sentence


def test_a_jvm_grows_in_a_mapping_of_its_own():
    found = rules(lambda at: table(other=40 * at), name="java", runtime=None)
    assert set(found) == {"growing"}
    assert found["growing"].next == ("pellucid gc 41 --watch -d 60",)


def test_what_another_runtime_keeps_is_not_called_native():
    found = rules(lambda at: table(other=40 * at), name="node", runtime=None)
    assert "only that runtime can say" in found["growing"].sentence
    unread = (Gap("Python's objects", "it runs CPython 3.9"),)
    found = rules(lambda at: table(native=2 + 40 * at), runtime=None, gaps=unread)
    assert set(found) == {"growing"}
    assert "native-leak" in rules(lambda at: table(native=2 + 40 * at), name="nginx", runtime=None)


def test_growth_of_both_is_not_given_to_one():
    found = rules(lambda at: table(small=50 + 20 * at, native=2 + 20 * at))
    assert set(found) == {"growing"}


def test_empty_pools_are_fragmentation():
    found = rules(lambda _: table(small=4, pool=158))
    assert set(found) == {"fragmentation"}
    assert found["fragmentation"].severity == "notice"
    assert "3 % is in use" in found["fragmentation"].sentence
    assert not rules(lambda _: table(small=150, pool=158)).keys() & {"fragmentation"}


def test_free_memory_that_grows_is_a_warning():
    found = rules(lambda at: table(small=4, pool=30 + 60 * at))
    assert found["fragmentation"].severity == "warning"
    assert "heap-leak" not in found


def test_many_arenas_of_malloc():
    found = rules(lambda _: table(free=300, arenas=16))
    assert "MALLOC_ARENA_MAX" in found["fragmentation"].sentence


def group(**changes):
    return MemoryGroup(
        **{
            "path": "/app",
            "folder": "/sys/fs/cgroup/app",
            "version": 2,
            "current_bytes": 98 * MIB,
            "limit_bytes": 100 * MIB,
            **changes,
        }
    )


def test_a_group_near_its_limit():
    found = rules(lambda _: table(), groups=(group(anon_bytes=97 * MIB),))
    assert found["resource-limit"].severity == "critical"
    assert "resource limit: cgroup /app uses 98 %" in found["resource-limit"].title
    cache = rules(lambda _: table(), groups=(group(anon_bytes=10 * MIB, file_bytes=88 * MIB),))
    assert "resource-limit" not in cache
    assert "cached files" in cache["page-cache"].title


def test_an_address_space_near_its_limit():
    limits = (Limit("Max address space", 410 * MIB, None, "bytes"),)
    assert "resource-limit" in rules(lambda _: table(), limits=limits)
    assert "resource-limit" not in rules(lambda _: table(), limits=(Limit("Max address space", None, None, "bytes"),))


def test_one_giant_object():
    giant = LargeBlock("an object of type bytes", 500 * MIB)
    found = rules(lambda _: table(small=550, largest=giant))
    assert "an object of type bytes" in found["giant-object"].sentence
    assert "giant-object" not in rules(lambda _: table(small=5000, largest=giant))


def test_pages_read_from_disk():
    found = rules(lambda at: (table(), {"major_faults": int(3000 * at), "swap_bytes": 200 * MIB}))
    assert found["swapping"].severity == "warning"
    assert "100 pages a second" in found["swapping"].title
    assert "swapping" not in rules(lambda at: (table(), {"major_faults": int(30 * at)}))


def test_pages_taken_and_returned():
    found = rules(lambda at: (table(), {"minor_faults": int(3_000_000 * at)}))
    assert "100,000 fresh pages a second" in found["page-faults"].title
    growing = rules(lambda at: (table(small=50 + 400 * at), {"minor_faults": int(3_000_000 * at)}))
    assert "page-faults" not in growing


def test_a_collector_without_end():
    found = rules(
        lambda at: (table(), {"collecting": at != 0.5, "collections": (int(3000 * at), int(300 * at), int(30 * at))})
    )
    assert "30 of generation 2" in found["gc-churn"].sentence
    assert "gc-churn" not in rules(lambda at: (table(), {"collecting": at == 0.5, "collections": (0, 0, 0)}))


def test_mapped_files_are_page_cache_and_no_leak():
    found = rules(lambda at: (table(small=5), {"rss_file_bytes": int((100 + 300 * at) * MIB)}))
    assert set(found) == {"page-cache", "steady"}
    assert found["page-cache"].severity == "info"


def test_shared_memory_that_grows():
    found = rules(lambda at: (table(), {"rss_shmem_bytes": int(100 * at * MIB)}))
    assert found["shared-memory"].severity == "warning"
    held = rules(lambda _: (table(small=5), {"rss_shmem_bytes": 300 * MIB}))
    assert held["shared-memory"].severity == "info"


@pytest.mark.parametrize("name", ["descriptors", "threads"])
def test_counts_that_grow(name):
    found = rules(lambda at: (table(), {name: 20 + int(60 * at)}))
    assert f"{name[:-1]}-leak" in found
    assert f"{name[:-1]}-leak" not in rules(lambda at: (table(), {name: 20 + int(5 * at)}))
    assert f"{name[:-1]}-leak" not in rules(lambda at: (table(), {name: 20 + min(30, int(90 * at))}))


def test_mappings_that_grow_are_told_only_alone():
    assert "mapping-leak" in rules(lambda at: (table(), {"mappings": 200 + int(900 * at)}))
    found = rules(lambda at: (table(small=50 + 90 * at), {"mappings": 200 + int(900 * at)}))
    assert set(found) == {"heap-leak"}


def test_without_a_table_only_the_counters_speak():
    whole = seen(lambda _: table())
    bare = replace(
        whole,
        first=None,
        last=None,
        samples=tuple(
            replace(one, known_bytes=None, native_bytes=None, free_bytes=None, array_bytes=None)
            for one in whole.samples
        ),
    )
    _, found = judge(bare)
    assert [finding.rule for finding in found] == ["steady"]


def test_two_points_are_no_slope():
    assert fit("x", [(0, 1.0), (1, 2.0)]) is None
    assert fit("x", [(0, 1.0), (0, 2.0), (0, 3.0)]) is None
    line = fit("x", [(0, 0.0), (1, 2.1), (2, 3.9), (3, 6.0)])
    assert line.per_s == pytest.approx(1.98)
    assert line.error_per_s == pytest.approx(0.0424, rel=0.01)  # by hand: the squares of the residuals sum to 0.018
    assert not line.levelled
    assert fit("x", [(0, 5.0), (1, 5.0), (2, 5.0)]).per_s == 0
