"""The supervisor's decisions, replayed: the end of the server, another version, workers that are full."""

from msgspec.structs import replace

from pellucid.serve import slots
from pellucid.serve.events import (
    Exit,
    Fork,
    Kill,
    KillNext,
    KillTemplate,
    Look,
    Order,
    Reload,
    Save,
    Say,
    StartTemplate,
    Stop,
    StopListening,
    Swap,
    TemplateEnded,
    TemplateReady,
    Trouble,
)
from pellucid.serve.processes import Death
from tests.unit.serve.story import Story, T, kept, of, only


def test_stopping_lets_the_workers_finish():
    story = Story().serving()
    story.change(0, started=story.now, request=1, rows=1)
    said = story.tell(Stop(story.now))
    assert of(said, StopListening)
    assert of(said, KillTemplate)
    assert {order.slot for order in of(said, Order)} == {0, 1}
    assert not of(story.tell(TemplateEnded(story.now, 900, "was killed by SIGKILL")), StartTemplate)
    assert not of(story.died(1, Death(status=0), ""), Exit)
    assert only(story.died(0, Death(status=0), ""), Exit) == Exit(0)


def test_stopping_gives_up_on_who_does_not_leave():
    story = Story().serving()
    story.tell(Stop(story.now))
    story.tell(TemplateEnded(story.now, 900, "was killed by SIGKILL"))
    story.died(1, Death(status=0), "")
    said = story.until(story.now + T + 3)
    assert "is still there" in only(said, Say).sentence
    assert only(said, Kill).pid == 1001
    assert only(story.died(0), Exit) == Exit(1), "it did not finish"


def test_a_worker_that_hangs_while_it_leaves_is_explained_and_killed_at_its_deadline():
    story = Story().serving()
    story.change(0, started=story.now, request=1, rows=1)
    story.tell(Stop(story.now))
    story.tell(TemplateEnded(story.now, 900, "was killed by SIGKILL"))
    story.died(1, Death(status=0), "")
    half = only(story.until(story.now + T / 2 + 1), Look)
    story.looked(half)
    last = only(story.until(story.now + T / 2), Look)
    story.looked(last)
    assert only(story.until(story.now + 1), Kill).pid == 1001
    said = story.died(0)
    assert kept(said).cause == "predict waits for a lock at model.py:7"
    assert only(said, Exit) == Exit(0), "its clients were told why not"


def test_a_worker_that_answers_late_while_it_leaves_goes_on_leaving():
    story = Story().serving()
    story.change(0, started=story.now, request=1, rows=1)
    story.tell(Stop(story.now))
    story.tell(TemplateEnded(story.now, 900, "was killed by SIGKILL"))
    story.died(1, Death(status=0), "")
    story.looked(only(story.until(story.now + T / 2 + 1), Look))
    story.change(0, started=0.0)
    assert only(story.tick(), Order) == Order(0, slots.LEAVE)
    assert only(story.died(0, Death(status=0), ""), Exit) == Exit(0)


def test_a_second_signal_kills_at_once():
    story = Story().serving()
    story.tell(Stop(story.now))
    said = story.tell(Stop(story.now))
    assert {kill.pid for kill in of(said, Kill)} == {1001, 1002}
    assert only(said, Exit) == Exit(130)


def test_a_suspect_is_judged_to_its_end_while_stopping():
    story = Story().serving()
    began = story.now
    story.change(0, started=began, request=1, rows=1)
    story.looked(only(story.until(began + T / 2), Look))
    story.tell(Stop(story.now))
    assert of(story.until(began + T), Look)


def test_a_death_while_stopping_is_still_an_incident():
    story = Story().serving()
    story.tell(Stop(story.now))
    assert only(story.died(0, Death(signal=11), ""), Save).incident.kind == "died"


def reloaded(story, version):
    """The new version is asked for, loads, and its workers are forked."""
    said = story.tell(Reload(story.now, version))
    assert of(said, StartTemplate) == [StartTemplate(version, next=True)]
    said = story.tell(TemplateReady(story.now, 901, next=True))
    assert of(said, Swap)
    return of(said, Fork)


def test_the_old_workers_go_when_as_many_new_ones_answer():
    story = Story().serving()
    old = {number for number, seen in story.slots.items() if seen.pid}
    forks = reloaded(story, 4)
    assert len(forks) == 2
    for fork in forks:
        story.forked(fork)
    story.become_ready(forks[0].slot)
    assert not of(story.tick(), Order), "one of two is not enough"
    story.become_ready(forks[1].slot)
    said = story.tick()
    assert {order.slot for order in of(said, Order) if order.command == slots.LEAVE} == old
    assert "version 4 serves now; 2 workers of the former one leave" in of(said, Say)[-1].sentence
    for number in old:
        story.died(number, Death())
    assert not of(story.until(story.now + 20), Fork)


def test_an_incident_names_the_version_of_its_worker():
    story = Story().serving()
    old = next(number for number, seen in story.slots.items() if seen.pid)
    reloaded(story, 4)
    assert kept(story.died(old)).version == 3


def test_a_new_version_that_can_not_be_loaded_changes_nothing():
    story = Story().serving()
    story.tell(Reload(story.now, 4))
    trouble = Trouble("load it", "it is damaged", "train anew")
    said = story.tell(TemplateEnded(story.now, 901, "exited with status 2", trouble, next=True))
    assert "version 4 can't be served: it is damaged; version 3 goes on" in only(said, Say).sentence
    assert not of(story.until(story.now + 20), Fork)


def test_the_last_wish_counts():
    story = Story().serving()
    story.tell(Reload(story.now, 4))
    said = story.tell(Reload(story.now, 5))
    assert of(said, KillNext)
    assert of(said, StartTemplate) == [StartTemplate(5, next=True)]


def test_a_new_version_that_does_not_load_is_given_up():
    story = Story().serving()
    story.tell(Reload(story.now, 4))
    assert of(story.until(story.now + 125), KillNext)


def test_a_server_that_stops_stops_the_next_template_too():
    story = Story().serving()
    story.tell(Reload(story.now, 4))
    said = story.tell(Stop(story.now))
    assert of(said, KillNext)
    story.tell(TemplateEnded(story.now, 900, "was killed"))
    for number, seen in story.slots.items():
        if seen.pid:
            said = story.died(number, Death())
    assert not of(said, Exit)
    assert of(story.tell(TemplateEnded(story.now, 901, "was killed", next=True)), Exit)


def test_a_worker_that_has_grown_serves_until_another_is_ready_and_was_looked_at():
    story = Story().serving()
    for number in (0, 1):
        story.change(number, rss=200 << 20)
    story.until(story.now + 10)
    story.change(0, rss=900 << 20)
    assert not of(story.until(story.now + 4), Look), "it may be one large request"
    said = story.until(story.now + 3)
    look = only(said, Look)
    assert look.moment == "grown"
    fork = only(said, Fork)
    assert "has grown by 700 MiB to 900 MiB" in kept(said).sentence
    story.forked(fork)
    story.become_ready(fork.slot)
    assert not of(story.tick(), Order), "the look goes on"
    said = story.looked(look, "in 2.0 s it got 9 Crumb more") + tuple(story.tick())
    assert [order.slot for order in of(said, Order)] == [0]
    assert "Crumb" in of(said, Say)[0].sentence
    said = story.died(0, Death())
    assert (kept(said).outcome, kept(said).kind) == ("replaced", "grew")


def test_a_worker_that_gives_its_memory_back_stays():
    story = Story().serving()
    story.change(0, rss=200 << 20)
    story.until(story.now + 10)
    story.change(0, rss=900 << 20)
    story.until(story.now + 3)
    story.change(0, rss=250 << 20)
    assert not of(story.until(story.now + 20), Fork)


def test_a_worker_without_a_free_descriptor_makes_room_for_another():
    story = Story().serving()
    story.change(0, full=story.now)
    assert not of(story.until(story.now + 0.75), Look), "it may have one again at once"
    said = story.until(story.now + 0.5)
    look = only(said, Look)
    assert look.moment == "full"
    story.forked(only(said, Fork))
    story.become_ready(2)
    story.looked(look, "pid 1001 has 1024 descriptors open and may have 1024")
    story.tick()
    assert [order.slot for order in of(story.done, Order)] == [0]
    found = kept(story.died(0, Death()))
    assert (found.kind, found.outcome) == ("descriptors", "replaced")
    assert found.sentence == "worker 0 (pid 1001) has hardly a descriptor left, so that it can accept no connections"
    assert found.cause == "pid 1001 has 1024 descriptors open and may have 1024"


def test_a_worker_full_of_clients_stays_and_it_is_said_once():
    story = Story()
    story.state.limits = replace(story.state.limits, descriptors=1024)
    story.serving()
    story.change(0, full=story.now, connections=1000)
    said = story.until(story.now + 10)
    assert not of(said, Fork)
    assert "clients keep 1000 open, and it may have 1024 descriptors" in only(said, Say).sentence
