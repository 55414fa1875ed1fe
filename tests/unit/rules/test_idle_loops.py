"""Task queues and servers that wait for work at the end of a long way through their own library; and the same places where they are at work."""

import pytest

from pellucid.diagnose.engine import diagnose
from pellucid.diagnose.words import idle
from tests.unit.rules.build import frame, library, on_socket, peer, snapshot, tcp, thread, wait

CELERY = tuple(
    library(function, f"billiard/{file}")
    for function, file in (
        ("_recv", "connection.py"),
        ("_recv_bytes", "connection.py"),
        ("recv_bytes", "connection.py"),
        ("get_payload", "queues.py"),
        ("_recv", "pool.py"),
        ("receive", "pool.py"),
        ("workloop", "pool.py"),
    )
)
REDIS = tuple(
    library(function, f"redis/{file}")
    for function, file in (
        ("read_from_socket", "_parsers/hiredis.py"),
        ("read_response", "_parsers/hiredis.py"),
        ("read_response", "connection.py"),
        ("parse_response", "client.py"),
        ("call_with_retry", "retry.py"),
        ("execute_command", "client.py"),
    )
)
BLPOP = library("blpop", "redis/commands/core.py")
CHILD = tuple(library(function, "/lib/python3.13/subprocess.py") for function in ("_try_wait", "_wait", "wait", "run"))
SUBSCRIBED = (*REDIS[:4], library("get_message", "redis/client.py"), library("run", "redis/client.py"))


@pytest.mark.parametrize(
    ("kind", "frames", "what"),
    [
        ("pipe", CELERY, "work for its pool"),
        ("socket", (*REDIS, BLPOP, frame("main")), "the next item of a list"),
        ("socket", (*REDIS, library("lmove", "rq/queue.py"), library("dequeue_any", "rq/queue.py")), "the next job"),
        ("socket", SUBSCRIBED, "messages of what it has subscribed to"),
        ("child", (*CHILD, library("restart_with_reloader", "django/utils/autoreload.py")), "the server, which it starts anew when code changes"),
    ],
)  # fmt: skip
def test_who_waits_for_work_is_idle(kind, frames, what):
    assert idle(thread(wait=wait(kind), frames=frames)) == what


@pytest.mark.parametrize(
    ("kind", "frames"),
    [
        ("socket", (frame("task"), library("trace_task", "celery/app/trace.py"), CELERY[-1])),
        (
            "pipe",
            (library("_recv", "billiard/connection.py"), library("trace_task", "celery/app/trace.py"), CELERY[-1]),
        ),
        ("socket", (*REDIS, library("get", "redis/commands/core.py"), frame("main"))),
        ("sleep", (library("call_with_retry", "redis/retry.py"), library("execute_command", "redis/client.py"), BLPOP)),
        ("child", (*CHILD, frame("build"))),
        ("socket", (frame("callback"), *SUBSCRIBED[4:])),
    ],
)
def test_who_is_at_work_or_owed_an_answer_is_not(kind, frames):
    assert idle(thread(wait=wait(kind), frames=frames)) is None


def test_work_from_a_process_that_is_stopped_will_not_come():
    socket = tcp(peer_pids=(43,))
    waits = thread(wait=on_socket(socket), frames=(*REDIS, BLPOP))
    assert [one.rule for one in diagnose(snapshot(waits, peers=(peer(),), sockets=(socket,)))] == ["idle"]
    stopped = diagnose(snapshot(waits, peers=(peer(state="stopped"),), sockets=(socket,)))
    assert stopped[0].severity == "critical"
    assert "stopped" in stopped[0].title


@pytest.mark.parametrize("function", ["retry_over_time", "other"])
def test_a_worker_that_can_not_reach_its_broker_is_not_just_asleep(function):
    frames = (library(function, "kombu/utils/functional.py"), library("connect", "celery/worker/consumer/consumer.py"))
    (found,) = diagnose(snapshot(thread(wait=wait("sleep", 3.0, "clock_nanosleep"), frames=frames)))
    assert (found.rule, found.severity) == (
        ("retries", "warning") if function == "retry_over_time" else ("sleeps", "notice")
    )


MAIN_LOOP = (library("mainLoop", "twisted/internet/base.py"), library("run", "twisted/internet/base.py"))
GEVENT = (library("handle", "gevent/pywsgi.py"), library("_handle_and_close_when_done", "gevent/baseserver.py"))


@pytest.mark.parametrize(
    ("frames", "stands_still"),
    [
        ((frame("render_GET"), library("doPoll", "twisted/internet/epollreactor.py"), *MAIN_LOOP), True),
        ((library("doPoll", "twisted/internet/epollreactor.py"), *MAIN_LOOP), False),
        ((frame("task"), library("work", "twisted/_threads/_threadworker.py")), False),
        ((frame("app"), *GEVENT), True),
        ((library("run", "gevent/hub.py"),), False),
        ((library("recv", "gevent/_socket3.py"), *GEVENT), False),
    ],
)
def test_a_callback_that_waits_holds_up_the_reactor_and_the_hub(frames, stands_still):
    found = diagnose(snapshot(thread(wait=wait("sleep", 8.0, "clock_nanosleep"), frames=frames)))
    blocked = [one for one in found if one.rule == "event-loop-blocked"]
    assert bool(blocked) == stands_still
    if stands_still:
        assert blocked[0].severity == "critical"
        assert "asyncio" not in blocked[0].sentence
