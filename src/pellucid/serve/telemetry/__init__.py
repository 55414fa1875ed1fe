"""OpenTelemetry of the model server: spans of requests, metrics and the log, for a receiver of OTLP over HTTP. Off unless it is asked for.

    worker ── tuples of numbers, a few dozen requests at a time (`traces.py`) ──▶ socket ──▶ exporter ──▶ receiver
    supervisor ── what it logs (`exporter.py`) ───────────────────────────────────▲           │
    slots ── shared memory, read when metrics are due ────────────────────────────────────────┘

A worker never waits: it writes into a socket that does not block, and counts what found no room. Encoding and sending (`spans.py`, `outlet.py`)
is done by one process beside the workers, which is nicer than they are. What OTEL_* variables ask for is read once (`settings.py`).

Why not opentelemetry-sdk: with its batch processor the three spans of a request take 0.3 to 0.6 ms of the worker (CPython 3.11), several times what
the request itself takes; it is imported in 0.4 s, adds 14 MB to each worker and 9 MB to the installation, and its threads have to be made anew after each fork.
"""
