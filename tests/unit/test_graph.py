"""The reduction of the wait-for graph: small worlds by hand, and random programs whose outcome is known."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.diagnose.graph import judge, stuck
from pellucid.model.graph import Graph, Node, Waker


def node(key, mode="live", *wakers, confidence="certain", **other):
    return Node(
        key=key,
        kind=other.pop("kind", "thread"),
        pid=1,
        name=key,
        mode=mode,
        wakers=tuple(waker if isinstance(waker, Waker) else Waker(waker, confidence) for waker in wakers),
        **other,
    )


def names(nodes):
    return {one.key for one in nodes}


def test_two_threads_that_hold_what_the_other_needs():
    verdict = judge(Graph((node("a", "and", "b"), node("b", "and", "a"), node("main", "and", "a"))))
    (cycle,) = verdict.cycles
    assert names(cycle.members) == {"a", "b"}
    assert names(cycle.victims) == {"main"}
    assert cycle.confidence == "certain"
    assert cycle.closed


def test_a_holder_that_runs_is_no_deadlock():
    assert not judge(Graph((node("a", "and", "b"), node("b")))).stuck


def test_a_thread_that_waits_for_a_lock_it_holds_itself():
    (cycle,) = judge(Graph((node("a", "and", "a"), node("main")))).cycles
    assert names(cycle.members) == {"a"}
    assert cycle.closed


def test_whoever_was_not_seen_counts_as_alive():
    assert not judge(Graph((node("a", "and", "elsewhere"), node("b", "or", "a", "elsewhere")))).stuck
    assert judge(Graph((node("a", "and", "b", "elsewhere"), node("b", "and", "a")))).stuck == {"a", "b"}


def test_a_holder_by_acquire_makes_it_likely_and_anybody_alive_could_release():
    anyone = Waker("any", "possible")
    graph = (
        node("a", "or", Waker("b", "likely"), anyone),
        node("b", "or", Waker("a", "likely"), anyone),
        node("main"),
        node("any", "or", "a", "b", "main", kind="any"),
    )
    verdict = judge(Graph(graph))
    (cycle,) = verdict.cycles
    assert cycle.confidence == "likely"
    assert not cycle.closed
    assert names(cycle.members) == {"a", "b"}


def test_a_lock_used_as_a_signal_is_left_alone_while_anybody_lives():
    graph = (
        node("waiter", "or", Waker("any", "possible")),
        node("main"),
        node("any", "or", "waiter", "main", kind="any"),
    )
    assert not judge(Graph(graph)).stuck
    assert judge(Graph((*graph[:1], node("any", "or", "waiter", kind="any")))).stuck


def test_dead_infects_those_that_need_it():
    verdict = judge(
        Graph((node("child", "dead", fate="no holder"), node("parent", "and", "1"), node("1", "and", "child")))
    )
    assert names(verdict.dead) == {"child"}
    assert verdict.stuck == {"child", "parent", "1"}
    assert not verdict.cycles


def test_a_ring_of_a_thousand_is_one_cycle():
    ring = tuple(node(str(number), "and", str((number + 1) % 1000)) for number in range(1000))
    (cycle,) = judge(Graph(ring)).cycles
    assert len(cycle.members) == 1000


MODES = st.sampled_from(["and", "or", "live", "dead"])


@st.composite
def graphs(draw):
    count = draw(st.integers(1, 9))
    edges = st.lists(st.integers(0, count), max_size=4)
    nodes = []
    for number in range(count):
        mode = draw(MODES)
        wakers = [str(other) for other in draw(edges)] if mode in {"and", "or"} else []
        nodes.append(node(str(number), mode, *wakers))
    return tuple(nodes)


@settings(deadline=None)
@given(graphs())
def test_the_linear_reduction_is_the_plain_one(nodes):
    known = {one.key: one for one in nodes}
    live = set()
    while True:
        more = {
            key
            for key, one in known.items()
            if one.mode == "live"
            or (one.mode == "and" and all(w.key in live or w.key not in known for w in one.wakers))
            or (one.mode == "or" and any(w.key in live or w.key not in known for w in one.wakers))
        }
        if more <= live:
            break
        live |= more
    assert stuck(known) == known.keys() - live
    verdict = judge(Graph(nodes))
    for cycle in verdict.cycles:
        following = [*cycle.members[1:], cycle.members[0]]
        assert all(
            after.key in {waker.key for waker in one.wakers}
            for one, after in zip(cycle.members, following, strict=True)
        )


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 10**9), st.integers(1, 6), st.integers(1, 6))
def test_a_random_program_is_judged_as_it_ends(seed, threads, locks):
    """k threads take random sequences of m locks, nested, in a random order, until none can go on: what is left is deadlocked."""
    chance = random.Random(seed)
    plans = [chance.sample(range(locks), chance.randint(1, locks)) for _ in range(threads)]
    owner: dict[int, int] = {}
    taken: list[list[int]] = [[] for _ in range(threads)]
    done: set[int] = set()
    ever: set[int] = set()
    while True:
        able = [
            t
            for t in range(threads)
            if t not in done and (len(taken[t]) == len(plans[t]) or plans[t][len(taken[t])] not in owner)
        ]
        graph = Graph(
            tuple(
                node(str(t)) if t in able or t in done else node(str(t), "and", str(owner[plans[t][len(taken[t])]]))
                for t in range(threads)
            )
        )
        claimed = {int(key) for key in judge(graph).stuck}
        ever |= claimed
        assert not ever & (set(able) | done), "a thread that can go on was called deadlocked"
        if not able:
            assert claimed == set(range(threads)) - done, "the program ended, and who is left was not found"
            break
        mover = chance.choice(able)
        if len(taken[mover]) == len(plans[mover]):
            for lock in taken[mover]:
                del owner[lock]
            done.add(mover)
            continue
        lock = plans[mover][len(taken[mover])]
        owner[lock] = mover
        taken[mover].append(lock)
