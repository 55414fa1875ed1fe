"""The supervisor's decisions, replayed: workers that hang, die, do not begin; their template."""

from pellucid.model.incident import LookAt
from pellucid.serve import slots
from pellucid.serve.events import (
    Adopt,
    Describe,
    Exit,
    Fork,
    Forked,
    ForkFailed,
    Kill,
    KillTemplate,
    Look,
    Looked,
    Order,
    Ready,
    Save,
    Say,
    StartTemplate,
    TemplateEnded,
    TemplateReady,
    Trouble,
    WorkerEnded,
)
from pellucid.serve.processes import Death
from tests.unit.serve.story import WALL, Story, T, counted, kept, of, only


def test_nothing_is_forked_before_the_template_is_ready():
    story = Story()
    assert story.done == [StartTemplate(3)]
    assert not story.until(130)
    said = story.tell(TemplateReady(story.now, 900))
    assert [fork.slot for fork in of(said, Fork)] == [0, 1]


def test_ready_is_said_once_when_all_answer():
    story = Story()
    said = story.tell(TemplateReady(story.now, 900))
    for fork in of(said, Fork):
        story.forked(fork)
    story.become_ready(0)
    assert not of(story.tick(), Ready)
    story.become_ready(1)
    assert of(story.tick(), Ready) == [Ready((1001, 1002))]
    assert not of(story.until(story.now + 60), Ready)


def test_idle_workers_are_left_alone():
    story = Story().serving()
    assert not story.until(story.now + 1000)


def test_a_stuck_prediction_step_by_step():
    story = Story().serving()
    began = story.now
    story.change(0, started=began, request=91, rows=3, rss=5 << 20)
    assert not story.until(began + T / 2 - 0.5), "not before half the deadline"

    said = story.until(began + T / 2)
    order, look = only(said, Order), only(said, Look)
    assert (order.slot, order.command) == (0, slots.SUSPECT)
    assert order.incident == look.incident
    assert (look.pid, look.tid, look.moment) == (1001, 1501, "half")
    assert only(said, Fork).slot == 2, "another one beside it, at once"
    story.forked(only(said, Fork))
    story.become_ready(2)

    said = story.looked(look)
    told = only(said, Say)
    assert told.sentence == (
        "worker 0 (pid 1001) has been in request r-0-91 (3 rows) for 5.0 s of its 10 s: predict waits for a lock at model.py:7"
    )
    assert only(said, Describe).sentence == told.sentence

    said = story.until(began + T - 0.25)
    assert not of(said, Kill)
    assert not of(said, Fork)
    said = story.until(began + T)
    last = only(said, Look)
    assert last.moment == "deadline"
    assert not of(said, Kill), "looked at before it is killed"
    story.looked(last)
    said = story.until(began + T + 1)
    assert only(said, Kill).pid == 1001

    said = story.died(0)
    found = kept(said)
    assert (found.outcome, found.kind, found.pid, found.worker) == ("replaced", "stuck", 1001, 0)
    assert found.client == "504 with this incident's id, after 10 s"
    assert [one.moment for one in found.looks] == ["half", "deadline"]
    assert found.request.id == "r-0-91"
    assert found.cause == "predict waits for a lock at model.py:7"
    assert counted(story) == ["stuck"]
    assert not of(said, Fork), "its place is taken already"
    assert not of(story.until(story.now + 100), Fork)


def test_a_first_look_that_ends_after_the_second_one_stands_before_it_and_does_not_decide_the_cause():
    story = Story().serving()
    began = story.now
    story.change(0, started=began, request=1, rows=1)
    first = only(story.until(began + T / 2), Look)
    noticed = story.now
    last = only(story.until(began + T), Look)
    story.looked(last, "predict waits for a lock at model.py:7")
    seen = LookAt(first.moment, WALL + noticed, 5.5, "predict runs at model.py:6")
    found = kept(story.tell(Looked(story.now, first.incident, seen)))
    assert [one.moment for one in found.looks] == ["half", "deadline"]
    assert found.cause == "predict waits for a lock at model.py:7"


def test_a_loop_that_lags_is_given_the_time_to_tell_its_clients_and_no_more():
    story = Story().serving()
    began = story.now
    story.change(0, started=began, request=1, rows=1)
    story.looked(only(story.until(began + T / 2), Look))
    story.looked(only(story.until(began + T), Look))
    story.change(0, loop_beat=story.now - 0.1)
    story.silent = frozenset({0})
    assert not of(story.until(began + T + 0.5, every=0.05), Kill), "it has not turned since the deadline"
    assert of(story.until(began + T + 1.0, every=0.05), Kill)


def test_a_supervisor_that_stood_still_blames_no_worker_and_says_so():
    """It alone was stopped: the workers went on. Then all was stopped: their beats are as old as its own last tick."""
    story = Story().serving()
    story.now += 7.0
    for number in (0, 1):
        story.change(number, loop_beat=story.now)
    (said,) = story.tick()
    assert (said.event, said.level) == ("supervisor_stood_still", "warning")
    assert "7.0 s" in said.sentence
    assert not story.until(story.now + 30)

    story.change(0, started=story.now, request=7, rows=1)
    story.now += 30.0
    assert [one.event for one in story.tick()] == ["supervisor_stood_still"]
    assert not of(story.until(story.now + T / 2 - 0.5), Look), "what it did not see does not count"
    assert only(story.until(story.now + 1), Look).moment == "half", "but what is stuck is still noticed"


def test_a_starved_supervisor_notices_a_stuck_worker_all_the_same():
    """Every tick comes late, the last ones by more than it takes for a pause: what was seen before counts on, and some of each pause."""
    story = Story().serving()
    began = story.now
    story.change(0, started=began, request=1, rows=1)
    assert of(story.until(began + 40, every=1.9), Look)[0].moment == "half"
    other = Story().serving()
    began = other.now
    other.change(0, started=began, request=1, rows=1)
    assert of(other.until(began + 60, every=2.5), Look)[0].moment == "half"


def test_the_kill_waits_until_the_clients_were_told():
    story = Story().serving()
    began = story.now
    story.change(0, started=began, request=1, rows=1)
    story.looked(only(story.until(began + T / 2), Look))
    story.looked(only(story.until(began + T), Look))
    assert not of(story.until(began + T + 0.2, every=0.1), Kill)
    assert of(story.until(began + T + 0.4, every=0.1), Kill)


def test_the_kill_waits_for_a_look_that_is_still_going_on():
    story = Story().serving()
    began = story.now
    story.change(0, started=began, request=1, rows=1)
    half = only(story.until(began + T / 2), Look)
    story.looked(only(story.until(began + T), Look))
    assert not of(story.until(began + T + 2), Kill)
    story.looked(half)
    assert of(story.until(began + T + 2.5), Kill)
    assert [look.moment for look in kept(story.died(0)).looks] == ["deadline", "half"]


def test_a_slow_answer_is_no_kill_but_a_fresh_worker():
    story = Story().serving()
    story.change(0, started=story.now, request=5, rows=1)
    said = story.until(story.now + T * 0.6)
    story.forked(only(said, Fork))
    story.looked(only(said, Look))
    story.change(0, started=0.0)
    said = story.tick()
    assert only(said, Order) == Order(0, slots.LEAVE)
    assert kept(said).outcome == "recovered"
    said = story.died(0, Death(status=0))
    assert not of(said, Save)
    assert not of(said, Fork)


def test_the_next_request_of_a_suspect_counts_as_recovered():
    story = Story().serving()
    story.change(0, started=story.now, request=5, rows=1)
    story.looked(only(story.until(story.now + T * 0.6), Look))
    story.change(0, started=story.now, request=6)
    assert only(story.tick(), Order) == Order(0, slots.LEAVE)


def test_a_silent_loop_is_noticed_without_any_request():
    story = Story().serving()
    stopped = story.now
    story.silent = frozenset({1})
    said = story.until(stopped + T / 2)
    look = only(said, Look)
    assert (look.pid, look.tid) == (1002, 1002), "nothing is predicted: the main thread is in question"
    told = only(story.looked(look, "it is stopped"), Say)
    assert told.event == "silent"
    assert "worker 1 (pid 1002) has not moved for 5.0 s of its 10 s: it is stopped" in told.sentence
    story.looked(only(story.until(stopped + T), Look))
    assert only(story.until(stopped + T + 1), Kill).pid == 1002
    found = kept(story.died(1))
    assert found.client == "no client waited for a prediction"


def test_a_silent_worker_in_a_request_can_not_answer_its_client():
    story = Story().serving()
    began = story.now
    story.silent = frozenset({0})
    story.change(0, started=began, request=8, rows=2)
    story.looked(only(story.until(began + T / 2), Look))
    story.looked(only(story.until(began + T), Look))
    story.until(began + T + 1)
    found = kept(story.died(0))
    assert found.kind == "silent"
    assert "in request r-0-8 (2 rows)" in found.sentence
    assert "closed without an answer" in found.client


def test_a_worker_that_is_continued_in_time_is_renewed():
    story = Story().serving()
    story.silent = frozenset({0})
    story.looked(only(story.until(story.now + T * 0.7), Look))
    story.silent = frozenset()
    said = story.until(story.now + 0.25)
    assert only(said, Order) == Order(0, slots.LEAVE)
    assert not of(story.until(story.now + 1), Kill)


def test_when_the_supervisor_stood_still_nobody_else_is_blamed():
    """A frozen container: all beats are as old as the pause. Each worker gets its whole time from the waking on."""
    story = Story().serving()
    story.change(0, started=story.now, request=1, rows=1)
    story.now += 3600
    assert [one.event for one in story.tick()] == ["supervisor_stood_still"]
    assert not story.until(story.now + T / 2 - 0.5)
    assert of(story.until(story.now + 1), Look), "and no more than that"


def test_a_look_that_never_saw_anything_still_leads_to_the_kill():
    story = Story().serving()
    began = story.now
    story.change(0, started=began, request=1, rows=1)
    look = only(story.until(began + T / 2), Look)
    unseen = LookAt("half", WALL, 0.0, "it could not be looked at: EPERM", why_not="EPERM")
    told = only(story.tell(Looked(story.now, look.incident, unseen)), Say)
    assert "it could not be looked at: EPERM" in told.sentence
    last = only(story.until(began + T), Look)
    story.tell(Looked(story.now, last.incident, LookAt("deadline", WALL, 0.0, "x", why_not="EPERM")))
    assert of(story.until(began + T + 1), Kill)
    found = kept(story.died(0))
    assert found.outcome == "replaced"
    assert found.cause == "it could not be looked at: EPERM"


def test_a_worker_that_has_answered_stays_until_the_look_at_it_has_ended():
    """The looks take their time on a busy machine, and see nothing of a worker that is gone."""
    story = Story().serving()
    story.change(0, started=story.now, request=5, rows=1)
    look = only(story.until(story.now + T * 0.6), Look)
    story.change(0, started=0.0)
    assert not of(story.until(story.now + 1), Order)
    said = story.looked(look, "predict sleeps at model.py:9")
    assert only(said, Say).event == "stuck"
    said = story.tick()
    assert only(said, Order) == Order(0, slots.LEAVE)
    found = kept(said)
    assert found.outcome == "recovered"
    assert found.cause == "predict sleeps at model.py:9"
    assert len(found.looks) == 1


def test_a_look_that_ends_after_the_death_does_not_change_the_cause():
    story = Story().serving()
    story.change(0, started=story.now, request=5, rows=1)
    look = only(story.until(story.now + T * 0.6), Look)
    story.died(0)
    found = kept(story.looked(look, "the process has ended"))
    assert found.cause.startswith("killed by SIGKILL")
    assert len(found.looks) == 1


def test_a_death_names_request_signal_and_what_is_known_of_the_oom_killer():
    story = Story().serving()
    story.change(1, started=story.now - 3.2, request=91, rows=100)
    said = story.died(1)
    found = kept(said)
    assert found.sentence == "worker 1 (pid 1002) died in request r-1-91, 100 rows, 3.2 s in predict"
    assert found.cause == "killed by SIGKILL; not by the OOM killer: its counter did not move"
    assert found.kind == "died"
    assert counted(story) == ["died"]
    assert only(said, Fork).slot == 1, "replaced in the same moment"


def test_a_death_without_a_request_and_with_a_last_error():
    story = Story().serving()
    story.change(0, error="ValueError: no")
    found = kept(story.died(0, Death(signal=11), ""))
    assert found.sentence == "worker 0 (pid 1001) died while it predicted nothing"
    assert found.cause == "killed by SIGSEGV; the last error it told: ValueError: no"


def test_somebody_else_may_kill_a_suspect():
    story = Story().serving()
    story.change(0, started=story.now, request=5, rows=1)
    story.looked(only(story.until(story.now + T * 0.6), Look))
    said = story.died(0)
    found = kept(said)
    assert "killed by SIGKILL" in found.cause
    assert len(found.looks) == 1


def test_a_worker_that_leaves_by_itself_is_replaced_without_an_incident():
    story = Story().serving()
    said = story.died(0, Death(status=0), "")
    assert "SIGTERM that its supervisor did not send" in only(said, Say).sentence
    assert not of(said, Save)
    assert of(said, Fork)


def deaths(story, count, *, ready, lived_s):
    """Seconds from each of so many deaths to the fork that answers it."""
    fork = only(story.tell(TemplateReady(story.now, 900)), Fork)
    waits = []
    for _ in range(count):
        story.forked(fork)
        if ready:
            story.become_ready(fork.slot)
        story.until(story.now + lived_s)
        died = story.now
        said = story.died(fork.slot)
        while not of(said, Fork):
            said = story.until(story.now + 0.25)
        fork = only(said, Fork)
        waits.append(story.now - died)
    return waits


def test_workers_that_die_before_they_answer_are_replaced_ever_later():
    story = Story(workers=1)
    waits = deaths(story, 10, ready=False, lived_s=1)
    assert waits[:4] == [0, 0.25, 0.5, 1], "the first at once, each further one later"
    assert waits == sorted(waits)
    assert waits[-1] == 30, "and never later than that"
    assert "before they answered; the next is forked in 30 s" in of(story.done, Say)[-1].sentence


def test_workers_that_are_killed_one_a_second_are_replaced_at_once_each_time():
    assert set(deaths(Story(workers=1), 30, ready=True, lived_s=1)) == {0}


def test_workers_that_die_in_quick_succession_are_replaced_at_once_then_one_a_second():
    waits = deaths(Story(workers=1), 20, ready=True, lived_s=0.25)
    assert set(waits[:8]) == {0}
    assert waits[-1] == 0.75, "one a second, of which it lived a quarter"
    assert max(waits) <= 1


def test_a_worker_that_lived_long_is_no_crash_loop():
    assert set(deaths(Story(workers=1), 20, ready=True, lived_s=20)) == {0}


def test_a_worker_that_never_becomes_ready_is_looked_at_and_killed():
    story = Story(workers=1)
    story.forked(only(story.tell(TemplateReady(story.now, 900)), Fork))
    look = only(story.until(story.now + 30), Look)
    story.looked(look, "MainThread waits for a file lock")
    assert of(story.until(story.now + 0.25), Kill)
    found = kept(story.died(0))
    assert found.kind == "start"
    assert "did not become ready" in found.sentence
    assert found.cause == "MainThread waits for a file lock"


def test_a_worker_that_ended_before_it_wrote_who_it_is_has_its_pid_in_the_incident():
    story = Story(workers=1)
    fork = only(story.tell(TemplateReady(story.now, 900)), Fork)
    story.tell(Forked(story.now, fork.slot, fork.generation, 1234))
    death = WorkerEnded(story.now, WALL, 1234, Death(signal=9), "", story.slots[fork.slot])
    found = kept(story.tell(death))
    assert (found.kind, found.pid) == ("start", 1234)
    assert found.id.endswith("-1234")
    assert found.sentence.startswith("worker 0 (pid 1234) died")


def test_a_model_that_can_not_be_loaded_ends_the_command_with_its_error():
    story = Story()
    trouble = Trouble("load loan", "it is corrupted", "train anew")
    assert only(story.tell(TemplateEnded(story.now, 900, "exited with status 2", trouble)), Exit) == Exit(2, trouble)
    assert not story.tick(), "it is over"


def test_a_template_that_crashes_while_loading():
    story = Story()
    ended = only(story.tell(TemplateEnded(story.now, 900, "was killed by SIGSEGV")), Exit)
    assert "was killed by SIGSEGV" in ended.trouble.said


def test_a_later_template_is_started_again_and_the_workers_go_on():
    story = Story().serving()
    said = story.tell(TemplateEnded(story.now, 900, "was killed by SIGKILL"))
    assert of(said, StartTemplate)
    assert not of(said, Kill)
    assert not of(story.died(0), Fork), "nobody there to fork"
    said = story.tell(TemplateReady(story.now, 901))
    assert only(said, Fork).slot == 0


def test_a_template_that_fails_again_and_again_is_started_ever_later():
    story = Story().serving()
    starts = []
    for _ in range(5):
        said = story.tell(TemplateEnded(story.now, 900, "exited with status 1"))
        ended = story.now
        while not of(said, StartTemplate):
            said = story.until(story.now + 0.25)
        starts.append(story.now - ended)
    assert starts[0] == 0
    assert starts[1:] == sorted(starts[1:])
    assert starts[-1] >= 2


def test_a_template_that_does_not_load_in_time_is_killed():
    story = Story()
    assert of(story.until(story.now + 121), KillTemplate)


def test_a_template_that_does_not_fork_in_time_is_killed():
    story = Story().serving()
    story.died(0)
    said = story.until(story.now + 6)
    assert of(said, KillTemplate)
    assert "did not fork within 5 s" in only(said, Say).sentence
    assert not of(story.until(story.now + 10), KillTemplate), "once"


def test_a_worker_of_whose_birth_the_template_could_not_tell_is_adopted():
    story = Story().serving()
    fork = only(story.died(0), Fork)
    story.tell(TemplateEnded(story.now, 900, "was killed by SIGKILL"))
    story.change(0, pid=7777, generation=fork.generation, state=slots.READY, loop_beat=story.now)
    said = story.tick()
    assert only(said, Adopt) == Adopt(0, 7777)
    story.tick()
    assert not of(story.until(story.now + 20), Fork)


def test_a_birth_that_is_told_too_late_is_undone():
    story = Story().serving()
    fork = only(story.died(0), Fork)
    story.until(story.now + 6)
    assert only(story.tell(Forked(story.now, fork.slot, fork.generation, 5555)), Kill).pid == 5555


def test_a_fork_that_fails_is_tried_again_in_a_second():
    story = Story().serving()
    fork = only(story.died(0), Fork)
    said = story.tell(ForkFailed(story.now, fork.slot, fork.generation, "EAGAIN, Resource temporarily unavailable"))
    assert "EAGAIN" in only(said, Say).sentence
    assert not of(story.until(story.now + 0.75), Fork)
    assert of(story.until(story.now + 0.5), Fork)


def test_no_more_than_twice_as_many_processes_as_workers():
    """Everything hangs, and the looks never come back: at most two suspects and two active ones."""
    story = Story().serving()
    for _ in range(40):
        for number, seen in list(story.slots.items()):
            if seen.pid and not seen.started:
                story.change(number, started=story.now, request=1, rows=1)
        for fork in of(story.until(story.now + 1), Fork):
            story.forked(fork)
            story.become_ready(fork.slot)
        assert len(story.state.workers) <= 4
