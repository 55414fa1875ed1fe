"""The board's values as families of numbers, for a fleet that has its own store: Python and JVM processes, and what was found of them."""

import time

from pellucid.export.prometheus import Family, Sample
from pellucid.present.view.board import Board
from pellucid.present.view.rows import Row

MOST = 2000
"""Processes that are told one by one; of more, a store would suffer. Those left out are counted."""


def families(board: Board) -> tuple[Family, ...]:
    """All of them, as the last look has them."""
    rows = [row for row in board.rows.values() if row.readable]
    told = rows[:MOST]
    labels = {row.pid: _labels(row) for row in told}
    found = [one for one in board.scan.found.values() if one.pid in labels]
    now = time.time()
    return (
        Family("pellucid_processes", "gauge", "Processes of this machine.", (Sample(len(board.rows)),)),
        Family("pellucid_processes_left_out", "gauge", "Python and JVM processes of which nothing more is told: they are too many.", (Sample(len(rows) - len(told)),)),
        Family("pellucid_process_info", "gauge", "A Python or JVM process.", tuple(Sample(1, (*labels[row.pid], ("runtime", row.runtime), ("user", row.user))) for row in told)),
        Family("pellucid_process_start_time_seconds", "gauge", "When it began, in seconds since 1970.", tuple(Sample(row.started_at, labels[row.pid]) for row in told)),
        Family("pellucid_process_cpu_seconds_total", "counter", "CPU time that it has used.", tuple(Sample(board.cpu_s[row.pid], labels[row.pid]) for row in told)),
        Family("pellucid_process_resident_memory_bytes", "gauge", "Its memory that is resident.", tuple(Sample(row.rss_bytes, labels[row.pid]) for row in told)),
        Family("pellucid_process_threads", "gauge", "Its threads.", tuple(Sample(row.threads, labels[row.pid]) for row in told)),
        Family("pellucid_finding", "gauge", "What was found wrong with a Python process at the last quick look at it: 1 for each rule.", tuple(
            Sample(1, (*labels[one.pid], ("rule", rule), ("severity", severity)))
            for one in found
            for rule, severity in dict.fromkeys((finding.rule, finding.severity) for finding in one.findings if finding.severity != "info")
        )),
        Family("pellucid_look_age_seconds", "gauge", "How long ago that look was.", tuple(Sample(max(0.0, now - one.at), labels[one.pid]) for one in found)),
        Family("pellucid_look_failed", "gauge", "1 where it could not be looked at.", tuple(Sample(1, (*labels[one.pid], ("code", one.why_not.code))) for one in found if one.why_not is not None)),
        Family("pellucid_self_cpu_seconds_total", "counter", "CPU time that this took.", (Sample(time.process_time()),)),
        Family("pellucid_self_resident_memory_bytes", "gauge", "Memory that this takes.", (Sample(board.own.rss_bytes),)),
    )  # fmt: skip


def _labels(row: Row) -> tuple[tuple[str, str], ...]:
    return (("pid", str(row.pid)), ("name", row.name))
