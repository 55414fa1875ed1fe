"""Pictures of a training: bars for a terminal, and one SVG that stands by itself and is kept with the model."""

import html
from collections.abc import Sequence
from typing import Any

from pellucid.serve.search import Candidate

SHOWN = 30


def bars(candidates: Sequence[Candidate], most: int = 5, width: int = 30) -> list[str]:
    """The best candidates, a line each: score, a bar from the worst to the best, parameters."""
    low, high = candidates[-1].mean, candidates[0].mean
    lines = []
    for candidate in candidates[:most]:
        share = (candidate.mean - low) / (high - low) if high > low else 1.0
        told = ", ".join(f"{key} {value}" for key, value in candidate.parameters.items()) or "as it is"
        lines.append(f"{candidate.mean:7.4f} {'█' * max(1, round(share * width)):<{width}} {told}")
    return lines


def svg(
    name: str, metric: str, candidates: Sequence[Candidate], pairs: Sequence[tuple[Any, Any]], *, regression: bool
) -> str:
    """Left the candidates' scores, each fold a dot; right the held-out rows: true and predicted."""
    shown = candidates[:SHOWN]
    height = max(420, 60 + 18 * len(shown))
    right = _scatter(pairs) if regression else _confusion(pairs)
    axes = "true (across) and predicted (up)" if regression else "true (down) and predicted (across)"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="1000" height="{height}" font-family="sans-serif" font-size="11">'
        f'<rect width="100%" height="100%" fill="white"/><text x="20" y="24" font-size="15">{html.escape(name)}: cross-validated {metric}</text>'
        f"{_scores(shown)}"
        f'<text x="600" y="24" font-size="15">held-out rows: {axes}</text>{right}</svg>\n'
    )


def _scores(candidates: Sequence[Candidate]) -> str:
    values = [score for candidate in candidates for score in candidate.scores]
    low, high = min(values), max(values)
    scale = 200 / (high - low) if high > low else 0.0
    parts = [f'<text x="340" y="42">{low:.3f}</text><text x="530" y="42">{high:.3f}</text>']
    for row, candidate in enumerate(candidates):
        y = 58 + 18 * row
        told = (
            ", ".join(f"{key.rpartition('__')[2]} {value}" for key, value in candidate.parameters.items()) or "as it is"
        )
        parts.append(f'<text x="20" y="{y + 4}">{html.escape(told[:58])}</text>')
        parts += [
            f'<circle cx="{345 + (score - low) * scale:.1f}" cy="{y}" r="3" fill="#88a"/>' for score in candidate.scores
        ]
        x = 345 + (candidate.mean - low) * scale
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y - 6}" y2="{y + 6}" stroke="#c30" stroke-width="3"/>')
    return "".join(parts)


def _scatter(pairs: Sequence[tuple[Any, Any]]) -> str:
    values = [float(value) for pair in pairs for value in pair]
    low, high = min(values), max(values)
    scale = 340 / (high - low) if high > low else 0.0
    dots = "".join(
        f'<circle cx="{610 + (float(true) - low) * scale:.1f}" cy="{390 - (float(found) - low) * scale:.1f}" r="2.5" fill="#36a" fill-opacity=".6"/>'
        for true, found in pairs[:2000]
    )
    return f'<line x1="610" y1="390" x2="950" y2="50" stroke="#999"/>{dots}<text x="610" y="408">{low:g}</text><text x="920" y="408">{high:g}</text>'


def _confusion(pairs: Sequence[tuple[Any, Any]]) -> str:
    labels = sorted({str(label) for pair in pairs for label in pair})[:20]
    counts = {(true, found): 0 for true in labels for found in labels}
    for true, found in pairs:
        if (str(true), str(found)) in counts:
            counts[str(true), str(found)] += 1
    side = min(80, 300 // max(1, len(labels)))
    most = max(counts.values(), default=1) or 1
    parts = []
    for row, true in enumerate(labels):
        parts.append(f'<text x="600" y="{70 + side * row + side / 2:.0f}">{html.escape(true[:12])}</text>')
        parts.append(f'<text x="{690 + side * row}" y="52">{html.escape(true[:10])}</text>')
        for column, found in enumerate(labels):
            count = counts[true, found]
            x, y = 680 + side * column, 60 + side * row
            parts.append(
                f'<rect x="{x}" y="{y}" width="{side - 2}" height="{side - 2}" fill="#36a" fill-opacity="{0.08 + 0.8 * count / most:.2f}"/>'
                f'<text x="{x + 6}" y="{y + side / 2:.0f}">{count}</text>'
            )
    return "".join(parts)
