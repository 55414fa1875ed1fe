"""The report of a log of collections as one HTML file: the heap over time and the pauses as drawings, the figures as tables. No script."""

from html import escape

from pellucid.model.gc_log import GcLogReport, LogEvent

_WIDTH, _HEIGHT, _LEFT, _BELOW = 960, 260, 70, 24
_MOST = 4000
"""Points of a drawing: of longer logs every n-th event is drawn, and each full collection."""
_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:1040px;padding:0 1rem;color:#1b1f24;background:#fff}
h1{font-size:1.3rem}h2{font-size:1.05rem;margin-top:2rem}table{border-collapse:collapse}td,th{padding:.2rem .8rem;text-align:right}
td:first-child,th:first-child{text-align:left}th{border-bottom:1px solid #888}svg{width:100%;height:auto}
.verdict{font-size:1.1rem;border-left:4px solid #888;padding:.4rem .8rem}.full,.rising{border-color:#c0392b}.steady{border-color:#27ae60}
@media(prefers-color-scheme:dark){body{color:#e6e6e6;background:#16191d}}
"""


def encode(report: GcLogReport) -> bytes:
    """The page, UTF-8."""
    title = f"Garbage collections of {report.files[-1] if report.files else 'a log'}"
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>",
        f"<title>{escape(title)}</title><style>{_STYLE}</style><h1>{escape(title)}</h1>",
        f"<p>{escape(report.collector or 'collector not told')}, {escape(report.format)}, {len(report.events):,} events"
        + (f", {report.span_s:,.1f} s" if report.span_s else "")
        + "</p>",
        f"<p class='verdict {escape(report.verdict_kind)}'>{escape(report.verdict)}</p>",
        "<h2>Heap after collections (line), before them (dots), full ones (rings)</h2>",
        _heap(report),
        "<h2>Pauses</h2>",
        _pauses(report.events),
        _table(report),
        _figures(report),
        "</html>",
    ]
    return "".join(parts).encode()


def _chosen(events: tuple[LogEvent, ...]) -> list[tuple[int, LogEvent]]:
    step = max(1, len(events) // _MOST)
    return [(at, one) for at, one in enumerate(events) if one.kind == "full" or at % step == 0]


def _x(at: int, event: LogEvent, first: float, last: float) -> float:
    seconds = event.at_s if event.at_s is not None else float(at)
    return _LEFT + (_WIDTH - _LEFT - 10) * ((seconds - first) / (last - first) if last > first else 0.0)


def _range(events: tuple[LogEvent, ...]) -> tuple[float, float]:
    times = [one.at_s if one.at_s is not None else float(at) for at, one in enumerate(events)]
    return (min(times), max(times)) if times else (0.0, 1.0)


def _heap(report: GcLogReport) -> str:
    told = tuple(one for one in report.events if one.after is not None and one.before is not None)
    if not told:
        return "<p>The log tells no sizes.</p>"
    first, last = _range(told)
    top = max([report.capacity or 0] + [max(one.before or 0, one.after or 0) for one in told]) or 1

    def y(bytes_: int) -> float:
        return 10 + (_HEIGHT - 20) * (1 - bytes_ / top)

    chosen = _chosen(told)
    line = " ".join(f"{_x(at, one, first, last):.1f},{y(one.after or 0):.1f}" for at, one in chosen)
    dots = "".join(
        f"<circle cx='{_x(at, one, first, last):.1f}' cy='{y(one.before or 0):.1f}' r='1.6' fill='#7aa6d8'/>"
        for at, one in chosen
    )
    rings = "".join(
        f"<circle cx='{_x(at, one, first, last):.1f}' cy='{y(one.after or 0):.1f}' r='4' fill='none' stroke='#c0392b' stroke-width='1.5'>"
        f"<title>{one.kind}: {(one.before or 0) / 1048576:.1f} → {(one.after or 0) / 1048576:.1f} MiB</title></circle>"
        for at, one in chosen
        if one.kind == "full"
    )
    labels = "".join(
        f"<text x='{_LEFT - 6}' y='{y(int(top * share)) + 4:.0f}' text-anchor='end' font-size='11' fill='currentColor'>{top * share / 1048576:,.0f} MiB</text>"
        f"<line x1='{_LEFT}' x2='{_WIDTH - 10}' y1='{y(int(top * share)):.1f}' y2='{y(int(top * share)):.1f}' stroke='#8884'/>"
        for share in (0.0, 0.5, 1.0)
    )
    return _drawing(
        f"{labels}{dots}<polyline points='{line}' fill='none' stroke='#1f5fa8' stroke-width='1.5'/>{rings}", first, last
    )


def _pauses(events: tuple[LogEvent, ...]) -> str:
    paused = tuple(one for one in events if one.pause_s > 0)
    if not paused:
        return "<p>The log tells no pauses.</p>"
    first, last = _range(paused)
    top = max(one.pause_s for one in paused)
    colours = {"full": "#c0392b", "mixed": "#d68910"}
    bars = "".join(
        f"<line x1='{_x(at, one, first, last):.1f}' x2='{_x(at, one, first, last):.1f}' y1='{_HEIGHT - 10}' "
        f"y2='{_HEIGHT - 10 - (_HEIGHT - 20) * one.pause_s / top:.1f}' stroke='{colours.get(one.kind, '#1f5fa8')}' stroke-width='2'>"
        f"<title>{escape(one.cause)}: {1000 * one.pause_s:.1f} ms</title></line>"
        for at, one in _chosen(paused)
    )
    label = (
        f"<text x='{_LEFT - 6}' y='16' text-anchor='end' font-size='11' fill='currentColor'>{1000 * top:,.0f} ms</text>"
    )
    return _drawing(label + bars, first, last)


def _drawing(inside: str, first: float, last: float) -> str:
    return (
        f"<svg viewBox='0 0 {_WIDTH} {_HEIGHT + _BELOW}' role='img'>{inside}"
        f"<text x='{_LEFT}' y='{_HEIGHT + 14}' font-size='11' fill='currentColor'>{first:,.1f} s</text>"
        f"<text x='{_WIDTH - 10}' y='{_HEIGHT + 14}' text-anchor='end' font-size='11' fill='currentColor'>{last:,.1f} s</text></svg>"
    )


def _table(report: GcLogReport) -> str:
    rows = "".join(
        f"<tr><td>{escape(one.kind)}<td>{one.count:,}<td>{one.total_s:,.3f} s<td>{1000 * one.median_s:,.1f} ms<td>{1000 * one.p99_s:,.1f} ms<td>{1000 * one.max_s:,.1f} ms"
        for one in report.pauses
    )
    return f"<table><tr><th>pauses<th>count<th>total<th>median<th>99 %<th>longest{rows}</table>"


def _figures(report: GcLogReport) -> str:
    rows = []
    if report.throughput is not None:
        rows.append(("throughput", f"{100 * report.throughput:.2f} %"))
    if report.allocation_rate is not None:
        rows.append(("allocated", f"{report.allocation_rate / 1048576:,.1f} MiB a second"))
    if report.promotion_rate is not None:
        rows.append(("promoted", f"{report.promotion_rate / 1048576:,.1f} MiB a second"))
    rows += ((f"cause: {cause}", f"{count:,}") for cause, count in report.causes.items())
    rows += ((what, f"{count:,}") for what, count in report.troubles.items())
    cells = "".join(f"<tr><td>{escape(name)}<td>{escape(value)}" for name, value in rows)
    return f"<h2>Figures</h2><table>{cells}</table>"
