"""What is said of those that never go on, and when nothing is said."""

from msgspec.structs import replace

from pellucid.diagnose.rules.deadlock import waits_for_ever
from pellucid.diagnose.rules.event_loop import event_loop_is_blocked
from pellucid.diagnose.rules.holder_stopped import waits_for_who_is_stopped
from pellucid.diagnose.rules.lock import waits_for_a_lock
from pellucid.diagnose.rules.stuck_child import children_wait_for_ever
from pellucid.export.dot import encode
from pellucid.model.graph import Graph, Node, Waker
from pellucid.model.sync import Waiting
from pellucid.model.wait import Holder
from tests.unit.rules.build import frame, library, process, snapshot, thread, wait


def waiting(name, tid, kind="Lock", thing="self.lock (Bank.lock)", since_s=41.0, **other):
    return Waiting(
        thread=name,
        kind=kind,
        object=thing,
        since_s=since_s,
        holders=(),
        at="bank.py:7 in pay",
        pid=41,
        tid=tid,
        call="futex",
        **other,
    )


def node(name, tid, mode="live", *wakers, what=None, parks=False, **other):
    return Node(
        key=f"41/{tid}",
        kind="thread",
        pid=41,
        name=name,
        tid=tid,
        mode=mode,
        wakers=wakers,
        waiting=what,
        parks=parks,
        **other,
    )


def anybody(*tids):
    return Node(
        key="41/any",
        kind="any",
        pid=41,
        name="pid 41",
        mode="or",
        wakers=tuple(Waker(f"41/{tid}", "possible") for tid in tids),
    )


def seen(*nodes):
    return snapshot(thread(), graph=Graph(nodes, (41,)))


def test_a_cycle_is_told_with_names_lines_and_the_way_out():
    because = "inside its `with` at bank.py:5"
    (found,) = waits_for_ever(
        seen(
            node("pay-1", 42, "and", Waker("41/43", "certain", because), what=waiting("pay-1", 42)),
            node("pay-2", 43, "and", Waker("41/42", "certain", because), what=waiting("pay-2", 43)),
            node("MainThread", 41, "and", Waker("41/42"), what=waiting("MainThread", 41, "Thread", "pay-1")),
        )
    )
    assert found.rule == "deadlock"
    assert found.confidence == "certain"
    assert found.severity == "critical"
    assert found.title == "Deadlock: pay-1 and pay-2 wait for each other"
    assert (
        "41 s for Lock self.lock (Bank.lock) at bank.py:7 in pay, which pay-2 holds (inside its `with` at bank.py:5)"
        in found.sentence
    )
    assert "MainThread waits for them" in found.sentence
    assert "same order" in found.sentence
    assert found.evidence


def test_silent_while_the_holder_runs():
    assert not list(
        waits_for_ever(seen(node("pay-1", 42, "and", Waker("41/43"), what=waiting("pay-1", 42)), node("pay-2", 43)))
    )


def test_idle_workers_that_nobody_feeds_are_left_alone():
    get = waiting("worker", 42, "Queue", "work", role="get")
    event = waiting("MainThread", 41, "Event", "stop", role="event")
    any_waker = Waker("41/any", "possible")
    nodes = (
        node("worker", 42, "or", any_waker, what=get, parks=True),
        node("MainThread", 41, "or", any_waker, what=event, parks=True),
        anybody(41, 42),
    )
    assert not list(waits_for_ever(seen(*nodes)))


def test_a_consumer_that_is_joined_and_never_fed():
    nodes = (
        node(
            "consumer",
            42,
            "or",
            Waker("41/any", "possible"),
            what=waiting("consumer", 42, "Queue", "work", role="get"),
            parks=True,
        ),
        node(
            "MainThread", 41, "and", Waker("41/42"), what=waiting("MainThread", 41, "Thread", "consumer", role="join")
        ),
        anybody(41, 42),
    )
    (found,) = waits_for_ever(seen(*nodes))
    assert found.rule == "queue-empty"
    assert found.confidence == "likely"
    assert "a signal, or code outside of Python, could" in found.sentence


def test_a_knot_of_this_very_moment_is_not_spoken_of():
    nodes = (
        node(
            "a", 42, "or", Waker("41/any", "possible"), what=waiting("a", 42, "Queue", "work", since_s=0.2, role="put")
        ),
        anybody(42),
    )
    assert not list(waits_for_ever(seen(*nodes)))


def test_nothing_is_said_of_a_stopped_process():
    stopped = process(state="stopped")
    one = node("a", 42, "and", Waker("41/42"), what=waiting("a", 42))
    assert not list(waits_for_ever(snapshot(thread(), graph=Graph((one,), (41,)), process=stopped)))


def test_the_chain_behind_a_lock_is_told_to_its_end():
    slow = waiting("visitor_1", 43, "socket", "fd 5 (tcp 10.0.0.1:4000 → 10.0.0.5:5432)")
    graph = Graph(
        (
            node("visitor_2", 42, "and", Waker("41/43"), what=waiting("visitor_2", 42)),
            node("visitor_1", 43, "live", what=slow),
        ),
        (41,),
    )
    holder = Holder(41, 43, "visitor_1", "certain")
    waits_here = thread(
        42, "visitor_2", wait=wait(object="Lock self.lock (Bank.lock)", holders=(holder,)), frames=[frame("pay")]
    )
    (found,) = waits_for_a_lock(snapshot(waits_here, graph=graph))
    assert (
        "Held by visitor_1; visitor_1 has waited 41 s in futex on fd 5 (tcp 10.0.0.1:4000 → 10.0.0.5:5432)"
        in found.sentence
    )


def test_a_lock_in_a_deadlock_is_told_once():
    graph = Graph((node("greedy", 42, "and", Waker("41/42"), what=waiting("greedy", 42)),), (41,))
    greedy = thread(42, "greedy", wait=wait(object="Lock"), frames=[frame("again")])
    assert not list(waits_for_a_lock(snapshot(greedy, graph=graph)))
    assert len(list(waits_for_ever(snapshot(greedy, graph=graph)))) == 1


def callback(*inner, **other):
    frames = [
        *inner,
        library("_run", "asyncio/events.py"),
        library("_run_once", "asyncio/base_events.py"),
        frame("main"),
    ]
    return thread(frames=frames, **other)


def test_a_loop_that_sleeps_in_a_callback():
    (found,) = event_loop_is_blocked(snapshot(callback(frame("rude"), wait=wait("sleep", 12.0, "clock_nanosleep"))))
    assert found.severity == "critical"
    assert "stands still for 12 s" in found.title
    assert "to_thread" in found.sentence


def test_a_loop_that_waits_for_events_or_was_just_caught_is_healthy():
    select = thread(
        frames=[library("select", "selectors.py"), library("_run_once", "asyncio/base_events.py")],
        wait=wait("poll", 12.0, "epoll_wait"),
    )
    brief = callback(frame("query"), wait=wait("socket", 0.01, "recvfrom"))
    woke = callback(frame("query"), wait=wait("socket", 12.0, "recvfrom"))
    assert not list(event_loop_is_blocked(snapshot(select, brief)))
    assert not list(
        event_loop_is_blocked(snapshot(woke, earlier=[callback(frame("query"), wait=woke.wait, switches=3)]))
    )


def test_the_graph_for_graphviz_shows_the_hopeless_in_red_and_escapes_names():
    text = encode(
        Graph((node('a"\n', 42, "and", Waker("41/42", "certain", "itself"), what=waiting("a", 42)),), (41,))
    ).decode()
    assert text.startswith("digraph waits {")
    assert 'color="red"' in text
    assert '\\"\\n' in text
    assert '"41/42" -> "41/42"' in text


def of_child(name, tid, *wakers, pid=43):
    what = replace(waiting(name, tid), pid=pid)
    return replace(node(name, tid, "and", *wakers, what=what), key=f"{pid}/{tid}", pid=pid)


def test_a_deadlock_of_two_children_is_told_once_by_their_parent():
    nodes = [of_child("a", 1, Waker(f"{pid}/2"), pid=pid) for pid in (43, 44)]
    nodes += [of_child("b", 2, Waker(f"{pid}/1"), pid=pid) for pid in (43, 44)]
    graph = Graph((node("main", 41), *nodes), (41, 43, 44), children=(43, 44))
    (found,) = children_wait_for_ever(snapshot(thread(), graph=graph))
    assert found.rule == "child-deadlock"
    assert found.title == "In its children 43 and 44: Deadlock: a and b wait for each other"
    assert found.sentence.startswith("In pid 43: a has waited 41 s")
    assert found.next == ("pellucid why 43", "pellucid waits 43")
    assert not list(waits_for_ever(snapshot(thread(), graph=graph)))


def test_a_parent_says_nothing_of_children_that_are_well_or_that_it_is_stuck_with():
    well = Graph((node("main", 41), of_child("a", 1, Waker("43/2")), replace(of_child("b", 2), mode="live")), (41, 43))
    assert not list(children_wait_for_ever(snapshot(thread(), graph=replace(well, children=(43,)))))
    nodes = (node("main", 41, "and", Waker("43/1"), what=waiting("main", 41)), of_child("a", 1, Waker("41/41")))
    graph = Graph(nodes, (41, 43), children=(43,))
    assert not list(children_wait_for_ever(snapshot(thread(), graph=graph)))
    assert list(waits_for_ever(snapshot(thread(), graph=graph)))


def test_whoever_has_the_result_is_in_a_process_that_is_stopped():
    stopped = Node(
        key="43/43",
        kind="thread",
        pid=43,
        name="MainThread",
        tid=43,
        mode="live",
        waiting=replace(waiting("MainThread", 43, "sleep", None, process="ForkProcess-2"), pid=43, stopped=True),
    )
    asker = node("asker", 41, "and", Waker("43/43"), what=waiting("asker", 41, "Future", "answer", role="future"))
    (found,) = waits_for_who_is_stopped(snapshot(thread(wait=wait()), graph=Graph((asker, stopped), (41, 43))))
    assert found.title == "asker waits for pid 43 (ForkProcess-2), which is stopped"
    assert (found.rule, found.confidence, found.next[0]) == ("holder-stopped", "certain", "kill -CONT 43")


def test_silent_where_somebody_else_could_end_the_wait_too():
    stopped = Node(
        key="43/43",
        kind="thread",
        pid=43,
        name="MainThread",
        tid=43,
        mode="live",
        waiting=replace(waiting("MainThread", 43, "sleep", None), pid=43, stopped=True),
    )
    asker = node(
        "asker", 41, "or", Waker("43/43", "possible"), Waker("41/any", "possible"), what=waiting("asker", 41, "Queue")
    )
    timed = node("timed", 44, "and", Waker("43/43"), what=waiting("timed", 44, "Future", timed=True))
    graph = Graph((asker, timed, stopped), (41, 43))
    assert not list(waits_for_who_is_stopped(snapshot(thread(wait=wait()), graph=graph)))


def test_who_is_idle_in_the_same_process_does_not_wait_for_the_deadlock():
    """Those on the cycle could put into its queue if they ever went on: that is no wait for them, and no news beside the deadlock either."""
    idle = node(
        "idle", 44, "or", Waker("41/any", "possible"), what=waiting("idle", 44, "Queue", "work", role="get"), parks=True
    )
    ender = node("ender", 45, "and", Waker("41/44"), what=waiting("ender", 45, "Thread", "idle"))
    victim = node("victim", 46, "and", Waker("41/42"), what=waiting("victim", 46))
    pair = (
        node("pay-1", 42, "and", Waker("41/43"), what=waiting("pay-1", 42)),
        node("pay-2", 43, "and", Waker("41/42"), what=waiting("pay-2", 43)),
    )
    (found,) = waits_for_ever(seen(*pair, idle, ender, victim, anybody(42, 43, 44, 45, 46)))
    assert "victim waits for them" in found.sentence
    assert set(found.tids) == {42, 43, 46}
    (alone,) = waits_for_ever(seen(idle, ender, anybody(44, 45)))
    assert alone.rule == "queue-empty"
