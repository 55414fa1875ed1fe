"""The graph of references, against answers worked out the slow way on hundreds of small random graphs."""

import numpy as np
import pytest

from pellucid.runtimes import dominators as of_dominators
from pellucid.runtimes.dominators import dominators
from pellucid.runtimes.references import References, retained


def graphs(seed, count):
    rng = np.random.default_rng(seed)
    for _ in range(count):
        objects, edges = int(rng.integers(2, 16)), int(rng.integers(1, 40))
        sources, targets = (rng.integers(0, objects, edges).astype(np.int32) for _ in range(2))
        roots = np.unique(rng.integers(0, objects, int(rng.integers(1, 4)))).astype(np.int32)
        yield References.of(objects, sources, targets), roots, rng.integers(1, 100, objects)


def reached(graph, roots, without=-1):
    seen, left = set(), [root for root in roots.tolist() if root != without]
    while left:
        at = left.pop()
        if at not in seen:
            seen.add(at)
            left += [held for held in graph.of_object(at).tolist() if held != without]
    return seen


def dominators_of(graph, roots):
    """For each object the set of those without which it would not be reached."""
    everything = reached(graph, roots)
    dominators = {at: set() for at in everything}
    for at in everything:
        for other in everything - reached(graph, roots, without=at) - {at}:
            dominators[other].add(at)
    return dominators


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"_FEW": 1},
        {"_FEW": 1, "_WORTH": 1 << 20},
        {"_WORTH": 1},
        {"_STEPS": 0},
        {"_CLIMBS": 0},
        {"_FEW": 1, "_CLIMBS": 1 << 20},
        {"_SHALLOW": -1},
    ],
    ids=[
        "as it is",
        "by arrays",
        "by as many rounds as there are",
        "by one round",
        "no way may be climbed",
        "object by object",
        "knots by arrays, in as many rounds as it takes",
        "heavy paths",
    ],
)
def test_the_immediate_dominator_is_the_nearest_of_all(monkeypatch, settings):
    for name, value in settings.items():
        monkeypatch.setattr(of_dominators, name, value)
    for graph, roots, _ in graphs(1, 150):
        found = dominators(graph, roots).tolist()
        wanted = dominators_of(graph, roots)
        for at, over in enumerate(found):
            if at not in wanted:
                assert over == -1
            elif not wanted[at]:
                assert over == len(graph)
            else:
                assert over == max(wanted[at], key=lambda one: len(wanted[one]))


def test_an_object_retains_what_could_not_be_reached_without_it():
    for graph, roots, sizes in graphs(2, 100):
        found = retained(dominators(graph, roots), sizes.astype(np.int64)).tolist()
        everything = reached(graph, roots)
        for at in range(len(graph)):
            gone = everything - reached(graph, roots, without=at)
            assert found[at] == sum(int(sizes[one]) for one in gone)


def test_the_way_from_the_roots_is_a_shortest_one():
    graph = References.of(6, np.array([0, 1, 0, 3, 4, 2], np.int32), np.array([1, 2, 3, 4, 2, 2], np.int32))
    assert graph.parents(np.array([0], np.int32)).tolist() == [0, 0, 1, 0, 3, -1]


def test_no_way_leads_through_what_is_blocked():
    graph = References.of(3, np.array([0, 1], np.int32), np.array([1, 2], np.int32))
    blocked = np.array([False, True, False])
    assert graph.parents(np.array([0], np.int32), blocked).tolist() == [0, 0, -1]


def test_a_list_of_a_hundred_thousand_links_is_no_deeper_than_it_can_follow():
    count = 100_000
    links = np.arange(count, dtype=np.int32)
    graph = References.of(count, links[:-1], links[1:])
    found = dominators(graph, links[:1])
    assert found[0] == count
    assert (found[1:] == links[:-1]).all()


ENTRIES = np.arange(2, 402, dtype=np.int32)


@pytest.mark.parametrize("settings", [{}, {"_FEW": 1}, {"_CLIMBS": 0}, {"_CLIMBS": 1 << 20}, {"_SHALLOW": 0}])
@pytest.mark.parametrize(
    ("edges", "over"),
    [
        ([(0, 1), (1, ENTRIES), (ENTRIES[:-1], ENTRIES[1:])], 1),
        ([(0, 1), (1, ENTRIES), (0, 2), (0, 401), (ENTRIES[:-1], ENTRIES[1:]), (ENTRIES[1:], ENTRIES[:-1])], 0),
        ([(0, 2), (0, 401), (ENTRIES[:-1], ENTRIES[1:]), (ENTRIES[1:], ENTRIES[:-1])], 0),
        ([(0, 2), (ENTRIES[:-1], ENTRIES[1:]), (ENTRIES[1:], ENTRIES[:-1])], np.append(0, ENTRIES[:-1])),
        (
            [(0, 2), (ENTRIES[1:] // 2 + 1, ENTRIES[1:]), (ENTRIES[1:], ENTRIES[1:] // 2 + 1)],
            np.append(0, ENTRIES[1:] // 2 + 1),
        ),
    ],
    ids=["a chain in a table", "a linked hash map", "a linked list", "a list with one end", "a tree with parents"],
)
def test_knots_of_lists_and_maps(monkeypatch, settings, edges, over):
    """Object 0 is the root, 1 a table; the entries are the others, and each holds one of 10 objects that hold one more, and a leaf."""
    for name, value in settings.items():
        monkeypatch.setattr(of_dominators, name, value)
    shared = 402 + ENTRIES % 10
    edges = [*edges, (ENTRIES, shared), (np.arange(402, 412), np.arange(412, 422)), (ENTRIES, 422 + ENTRIES % 7)]
    pairs = [np.broadcast_arrays(*one) for one in edges]
    sources, targets = (np.concatenate([np.atleast_1d(one[side]) for one in pairs]).astype(np.int32) for side in (0, 1))
    graph = References.of(429, sources, targets)
    found = dominators(graph, np.array([0], np.int32))
    assert (found[2:402] == over).all()
    assert (found[412:422] == np.arange(402, 412)).all()
    wanted = [np.unique(found[ENTRIES]).tolist() == [one] for one in (0, 1)]
    if wanted[0] or wanted[1]:
        assert (found[402:412] == found[2]).all() and (found[422:] == found[2]).all()
    else:
        for shared_one in (*range(402, 412), *range(422, 429)):
            holders = sources[targets == shared_one]
            ways = [_ways_up(found, int(holder)) for holder in holders]
            common = set(ways[0]).intersection(*ways)
            assert found[shared_one] == max(common, key=lambda one: len(_ways_up(found, one)))


def _ways_up(idom, at):
    way = [at]
    while idom[at] < len(idom):
        at = int(idom[at])
        way.append(at)
    return way


def test_holders_are_the_references_turned():
    graph = References.of(3, np.array([0, 0, 2], np.int32), np.array([1, 2, 1], np.int32))
    assert graph.turned().of_object(1).tolist() == [0, 2]
    assert graph.in_degrees().tolist() == [0, 2, 1]
    assert graph.out_degrees().tolist() == [2, 0, 1]


def test_a_heap_without_objects_or_roots():
    empty = References.of(0, np.zeros(0, np.int32), np.zeros(0, np.int32))
    assert dominators(empty, np.zeros(0, np.int32)).tolist() == []
    alone = References.of(2, np.zeros(0, np.int32), np.zeros(0, np.int32))
    assert dominators(alone, np.array([1], np.int32)).tolist() == [-1, 2]
    assert retained(dominators(alone, np.array([1], np.int32)), np.array([5, 7])).tolist() == [0, 7]
