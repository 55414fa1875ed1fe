"""The sentences about a heap: who holds what by the name that users know, and what is called a leak and what never."""

import pytest

from pellucid.diagnose import heap
from pellucid.diagnose.growing import holder
from pellucid.diagnose.heap_holders import known
from pellucid.model.heap import Census, Hold, Note, Suspect

CACHE = (Hold("class", "shop.Registry", "type"), Hold("attribute", "_cache", "dict"))


def suspect(holder=CACHE, **more):
    fields = {
        "holder_type": "dict", "held_type": "shop.Session", "held_count": 50_000, "retained_bytes": 32_800_000, "share": 0.94,
        "length": 50_000, "keys": "str", "limit": None, "sentence": "",
    }  # fmt: skip
    return Suspect(holder=holder, **{**fields, **more})


def census(**more):
    fields = {
        "types": (), "total_bytes": 35_000_000, "attribute_bytes": 0, "objects": 400_000, "anonymous_bytes": 40_000_000, "coverage": 0.87,
        "pool_bytes": 0, "pool_used_bytes": 0, "taken_at": 0.0, "paused_s": 0.02, "copied_bytes": 0, "seconds": 1.0, "gaps": (),
    }  # fmt: skip
    return Census(**{**fields, **more})


class Looked:
    process = None
    edges = 0
    gaps = ()
    types = ()

    def __init__(self, suspects=(), notes=(), censuses=None):
        self.suspects, self.notes, self.census, self.steps = suspects, notes, census(), {}
        self.censuses = censuses or (census(), census(taken_at=10.0))


def test_the_holder_with_what_it_holds_and_how_much():
    assert heap.holds(suspect()) == (
        "class shop.Registry → _cache (dict) → 50,000 shop.Session retains 94% (31.3 MiB), keys are str; a class attribute: one for all instances"
    )


def test_growth_is_a_leak_only_where_it_went_on():
    grown = {"grown_count": 30_000, "grown_bytes": 19_000_000, "per_s": 1000.0}
    assert heap.grows(suspect(**grown), several=False).endswith(
        "two looks can't tell a leak from a cache that fills up"
    )
    assert "+30,000 (+1,000/s)" in heap.grows(suspect(**grown), several=False)
    assert heap.grows(suspect(**grown, steady=True), several=True).endswith("it grew in each interval: likely a leak")
    three = (census(), census(taken_at=5.0), census(taken_at=10.0))
    assert len(heap.compare(Looked((suspect(**grown, steady=True),), censuses=three)).suspects) == 1
    assert heap.compare(Looked((suspect(**grown, steady=False),), censuses=three)).suspects == ()


@pytest.mark.parametrize(
    "quiet",
    [
        suspect(grown_count=0, grown_bytes=9_000_000, steady=True),
        suspect(
            (Hold("lru_cache", "load", "dict", "1000"),),
            limit=1000,
            grown_count=900,
            grown_bytes=9_000_000,
            steady=True,
        ),
        suspect(
            (Hold("module", "shop", "module"),),
            held_type="function",
            grown_count=900,
            grown_bytes=9_000_000,
            steady=True,
        ),
    ],
    ids=["it holds no more", "its size is bounded", "something was imported"],
)
def test_what_is_no_leak_is_not_told_as_one(quiet):
    three = (census(), census(taken_at=5.0), census(taken_at=10.0))
    assert heap.compare(Looked((quiet,), censuses=three)).suspects == ()


def test_one_look_tells_of_many_objects_and_not_of_what_a_program_is_made_of():
    assert len(heap.report(Looked((suspect(),))).suspects) == 1
    assert heap.report(Looked((suspect(held_count=40),))).suspects == ()
    assert heap.report(Looked((suspect(held_type="code"),))).suspects == ()


def hold(*steps):
    return tuple(Hold(*step) for step in steps)


@pytest.mark.parametrize(
    ("holder", "more", "said"),
    [
        (hold(("lru_cache", "load", "dict")), {}, "an lru_cache without maxsize"),
        (hold(("lru_cache", "load", "dict", "512")), {"limit": 512}, "bounded by maxsize=512"),
        (hold(("class", "matplotlib._pylab_helpers.Gcf", "type"), ("attribute", "figs", "collections.OrderedDict")), {}, "figure manager"),
        (hold(("module", "logging", "module"), ("global", "root", "logging.RootLogger"), ("attribute", "handlers", "list")), {}, "logging's handlers"),
        (hold(("module", "logging", "module"), ("attribute", "loggerDict", "dict")), {}, "table of loggers"),
        (hold(("module", "app", "module"), ("global", "state", "_thread._local"), ("key", "pieces", "list", "str")), {}, "thread local"),
        (hold(("module", "app", "module"), ("global", "tasks", "set")), {"held_type": "_asyncio.Task"}, "never awaited"),
        (hold(("module", "app", "module"), ("global", "jobs", "list")), {"held_type": "coroutine"}, "never awaited"),
        (hold(("module", "app", "module"), ("global", "q", "queue.Queue"), ("attribute", "queue", "collections.deque")), {"holder_type": "collections.deque"}, "filled faster"),
        (hold(("module", "app", "module"), ("global", "errors", "list")), {"held_type": "traceback"}, "a traceback that is kept"),
        (hold(("module", "linecache", "module"), ("global", "cache", "dict")), {}, "linecache"),
        (hold(("closure", "seen", "list", "make.<locals>.f")), {}, "a variable that a closure keeps"),
        (hold(("default", "0", "list", "f")), {}, "a mutable default argument"),
        (hold(("module", "app", "module"), ("global", "seen", "weakref.WeakValueDictionary"), ("attribute", "data", "dict")), {"held_type": "weakref.KeyedRef"}, "it holds none of these objects"),
        (hold(("module", "app", "module"), ("global", "seen", "_weakrefset.WeakSet"), ("attribute", "data", "set")), {"held_type": "weakref.ReferenceType"}, "it holds none of these objects"),
        (hold(("module", "app", "module"), ("global", "of", "weakref.WeakKeyDictionary"), ("attribute", "data", "dict")), {}, "a value lives as long as its key"),
        (hold(("class", "weakref.finalize", "type"), ("attribute", "_registry", "dict")), {"held_type": "weakref._Info"}, "still alive"),
        (CACHE, {}, "a class attribute"),
        (hold(("module", "app", "module"), ("global", "cache", "dict")), {}, "a global of a module"),
        (hold(("outside", "", "app.Thing")), {"holder_type": ""}, "does not let go"),
    ],
)  # fmt: skip
def test_holders_that_everybody_knows_are_called_by_their_name(holder, more, said):
    found = known(suspect(holder, **more))
    assert found is not None
    assert said in found[0]


def test_growth_that_no_object_explains_is_not_left_unsaid():
    later = census(taken_at=10.0, anonymous_bytes=60_000_000)
    native = heap.compare(Looked(censuses=(census(), later)))
    assert "grew by 19.1 MiB meanwhile, and Python objects are only 0 bytes of that" in heap.elsewhere(native)
    python = heap.compare(
        Looked(censuses=(census(), census(taken_at=10.0, anonymous_bytes=60_000_000, total_bytes=54_000_000)))
    )
    assert heap.elsewhere(python) == ""
    assert heap.elsewhere(heap.compare(Looked())) == ""


def test_who_only_refers_to_objects_is_not_blamed_for_them():
    way = hold(("module", "app", "module"), ("global", "seen", "_weakrefset.WeakSet"), ("attribute", "data", "set"))
    grown = {"grown_count": 30_000, "grown_bytes": 19_000_000, "per_s": 1000.0, "steady": True}
    refers, holds = suspect(way, held_type="weakref.ReferenceType", **grown), suspect(**grown)
    three = (census(), census(taken_at=5.0), census(taken_at=10.0))
    first, second = heap.compare(Looked((refers, holds), censuses=three)).suspects
    assert first.holder == CACHE
    assert first.sentence.endswith("likely a leak")
    assert "leak" not in second.sentence
    assert "class shop.Registry" in holder((refers, holds))


def test_a_list_of_weak_references_holds_them():
    way = hold(("module", "app", "module"), ("global", "refs", "list"))
    assert known(suspect(way, held_type="weakref.ReferenceType")) == ("a global of a module", "")


def test_a_holder_that_nobody_knows_has_no_name_but_its_way():
    way = hold(("module", "app", "module"), ("global", "bus", "app.Bus"), ("attribute", "_listeners", "list"))
    assert known(suspect(way)) is None
    assert heap.way(way, "list") == "module app → bus (app.Bus) → _listeners (list)"


def test_a_long_way_is_cut_in_its_middle():
    way = hold(("module", "app", "module"), *[("attribute", f"a{number}", "app.Node") for number in range(9)])
    assert heap.way(way, "dict") == "module app → a0 (app.Node) → a1 (app.Node) → … → a7 (app.Node) → a8 (app.Node)"


def test_keys_that_are_no_names_are_told_by_their_type_alone():
    assert heap.way(
        hold(("module", "app", "module"), ("global", "users", "dict"), ("key", "", "list", "str")), "list"
    ) == ("module app → users (dict) → [a str] (list)")


def test_below_enough_coverage_the_table_is_not_called_the_answer():
    assert "not the whole answer" in heap.coverage(census(coverage=0.4))
    assert "not the whole answer" not in heap.coverage(census(coverage=0.8))


@pytest.mark.parametrize(
    ("note", "said"),
    [
        (Note("large", "bytes", 1, 20_000_000, CACHE), "one bytes has 19.1 MiB, 57% of all: class shop.Registry"),
        (Note("equal-strings", "str", 9000, 5_000_000, detail="700 of them are one text of 36 bytes"), "9,000 strings are there more than once"),
        (Note("empty", "dict", 90_000, 5_000_000, detail="of 100,000 in all"), "90,000 dict objects are empty"),
        (Note("unreachable", "Node", 90_000, 5_000_000), "wait for the collector"),
        (Note("uncollectable", "Node", 3, 300), "gc.garbage"),
        (Note("outside", "Thing", 5000, 300_000, detail="of 5,000 in all"), "forgets to drop its own is possible"),
    ],
)  # fmt: skip
def test_what_else_was_seen(note, said):
    (told,) = heap.report(Looked(notes=(note,))).notes
    assert said in told.sentence
    assert heap.report(Looked(notes=(Note("empty", "dict", 10, 640),))).notes == ()
