"""The loops of the standard library, of servers, of pools and of task queues in which a thread waits for work, as its innermost frames show it."""

LOOPS: tuple[tuple[str, str, str], ...] = (
    # (end of the file name, function, what it waits for), looked for in the innermost frames only
    ("concurrent/futures/thread.py", "_worker", "work for its executor"),
    ("concurrent/futures/process.py", "wait_result_broken_or_wakeup", "results of its worker processes"),
    ("concurrent/futures/process.py", "_process_worker", "work for its executor"),
    ("multiprocessing/pool.py", "_handle_workers", "work for its pool"),
    ("multiprocessing/pool.py", "_handle_tasks", "work for its pool"),
    ("multiprocessing/pool.py", "_handle_results", "work for its pool"),
    ("multiprocessing/pool.py", "worker", "work for its pool"),
    ("multiprocessing/queues.py", "_feed", "items to feed into its queue"),
    ("multiprocessing/queues.py", "get", "the next item of a queue"),
    ("multiprocessing/forkserver.py", "main", "requests to fork"),
    ("multiprocessing/resource_tracker.py", "main", "the end of its parent"),
    ("queue.py", "get", "the next item of a queue"),
    ("asyncio/base_events.py", "_run_once", "events of its loop"),
    ("asyncio/base_events.py", "run_forever", "events of its loop"),
    ("asyncio/runners.py", "run", "events of its loop"),
    ("socketserver.py", "serve_forever", "connections"),
    ("gunicorn/arbiter.py", "sleep", "its workers"),
    ("gunicorn/workers/sync.py", "wait", "connections"),
    ("uvicorn/server.py", "main_loop", "events of its loop"),
    ("django/utils/autoreload.py", "tick", "code that changes"),
    ("werkzeug/_reloader.py", "run", "code that changes"),
    ("celery/beat.py", "start", "the next time of its schedule"),
    ("hypercorn/run.py", "run", "its workers"),
    ("waitress/task.py", "handler_thread", "requests"),
    ("waitress/wasyncore.py", "loop", "connections"),
    ("apscheduler/schedulers/blocking.py", "_main_loop", "its next job"),
    ("kombu/asynchronous/hub.py", "create_loop", "tasks and its workers"),
    ("huey/consumer.py", "sleep", "work"),
    ("huey/consumer.py", "sleep_for_interval", "its next look at the schedule"),
    ("huey/consumer.py", "loop", "its workers"),
    ("execnet/gateway_base.py", "_thread_receiver", "messages of the other process"),
    ("ipykernel/heartbeat.py", "run", "heartbeats"),
    ("ipykernel/iostream.py", "_watch_pipe_fd", "output of C code"),
    ("IPython/core/history.py", "run", "history to save"),
    ("pellucid/present/view/scan.py", "_run", "somebody who looks"),
    ("pellucid/present/view/remote.py", "_run", "somebody who looks"),
    ("ray/_private/gc_collect_manager.py", "run", "a wish to collect garbage"),
    ("ray/_private/process_watcher.py", "<lambda>", "the end of its parent"),  # reads the pipe from it
    ("pellucid/serve/predictor.py", "_take", "a request to predict"),
    ("pellucid/serve/forking.py", "_wait", "the order to become a worker"),
    ("pellucid/serve/control.py", "order", "orders of its supervisor"),
    ("pellucid/serve/supervisor.py", "run", "its workers"),
    ("util/concurrent/ThreadPoolExecutor.java", "getTask", "work for its executor"),
    ("util/concurrent/ForkJoinPool.java", "awaitWork", "work for its pool"),
    ("util/concurrent/LinkedBlockingQueue.java", "take", "the next item of a queue"),
    ("util/concurrent/ArrayBlockingQueue.java", "take", "the next item of a queue"),
    ("util/concurrent/LinkedBlockingDeque.java", "takeFirst", "the next item of a queue"),
    ("util/concurrent/SynchronousQueue.java", "take", "the next item of a queue"),
    ("java/util/Timer.java", "mainLoop", "its next timer"),
    ("java/util/TimerThread.java", "mainLoop", "its next timer"),  # so called where the JDK's classes tell no source
    ("util/concurrent/DelayedWorkQueue.java", "take", "work for its executor"),
    ("java/lang/ref/ReferenceQueue.java", "remove", "references to clear"),
    ("java/lang/ref/NativeReferenceQueue.java", "remove", "references to clear"),
    ("java/lang/ref/Reference.java", "waitForReferencePendingList", "references to clear"),
)
_REDIS = ("/redis/",)
_RELOADED = "the server, which it starts anew when code changes"
DEEP_LOOPS: tuple[tuple[str, tuple[str, ...], str, tuple[str, ...]], ...] = (
    # (end of the file name, functions, what it waits for, folders or files of which all frames above it are)
    ("billiard/pool.py", ("workloop",), "work for its pool", ("/billiard/",)),
    ("rq/queue.py", ("dequeue_any",), "the next job", ("/rq/", "/redis/")),
    ("redis/client.py", ("listen", "get_message"), "messages of what it has subscribed to", _REDIS),
    ("redis/commands/core.py", ("blpop", "brpop", "brpoplpush", "blmove", "blmpop"), "the next item of a list", _REDIS),
    ("redis/commands/core.py", ("bzpopmin", "bzpopmax", "bzmpop"), "the next item of a set", _REDIS),
    ("redis/commands/core.py", ("xread", "xreadgroup"), "the next item of a stream", _REDIS),
    ("django/utils/autoreload.py", ("restart_with_reloader",), _RELOADED, ("/subprocess.py",)),
    ("werkzeug/_reloader.py", ("restart_with_reloader",), _RELOADED, ("/subprocess.py",)),
)
"""Where the library's own way to the wait is longer: nobody's work is among those frames."""
RETRIES: tuple[tuple[str, str], ...] = (
    ("kombu/utils/functional.py", "retry_over_time"),
    ("redis/retry.py", "call_with_retry"),
    ("rq/worker/base.py", "dequeue_job_and_maintain_ttl"),
    ("rq/worker/base.py", "_pubsub_exception_handler"),
)
"""Who sleeps in these, innermost, has failed to reach its broker and tries again."""
RUNS_WORK: tuple[tuple[str, str], ...] = (
    ("concurrent/futures/thread.py", "run"),
    ("asyncio/events.py", "_run"),
)
"""They call the program's own function, which may be one of C and have no frame of its own: whoever is below them is at work."""
CALLS_ITSELF: tuple[tuple[str, str], ...] = (
    ("multiprocessing/pool.py", "worker"),
    ("concurrent/futures/process.py", "_process_worker"),
)
"""So do these, which fetch their work by functions of Python: innermost of all they are at work."""
