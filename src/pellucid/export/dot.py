"""The graph of waits for Graphviz: a box for each thread or task that waits or is waited for, an arrow for each need."""

from pellucid.diagnose.graph import judge
from pellucid.inert import inert
from pellucid.model.graph import Graph, Node


def encode(graph: Graph) -> bytes:
    """A `digraph`; those that can never go on are red, an arrow that is not certain is dashed."""
    hopeless = judge(graph).stuck
    shown = {node.key for node in graph.nodes if node.waiting is not None}
    shown |= {waker.key for node in graph.nodes if node.waiting for waker in node.wakers}
    lines = ["digraph waits {", "  rankdir=LR;", '  node [shape=box, fontname="sans-serif"];']
    for node in graph.nodes:
        if node.key in shown:
            colour = ', color="red"' if node.key in hopeless and node.kind != "any" else ""
            shape = ', style="dashed"' if node.kind == "any" else ""
            lines.append(f"  {_quoted(node.key)} [label={_quoted(_label(node))}{colour}{shape}];")
    for node in graph.nodes:
        if node.key not in shown:
            continue
        for waker in node.wakers if node.kind != "any" else ():
            style = "" if waker.confidence == "certain" else ", style=dashed"
            lines.append(f"  {_quoted(node.key)} -> {_quoted(waker.key)} [label={_quoted(waker.because)}{style}];")
    return ("\n".join([*lines, "}"]) + "\n").encode()


def _label(node: Node) -> str:
    if node.kind == "any":
        return f"any thread of {node.name}"
    waiting = node.waiting
    if waiting is None:
        return node.name
    return f"{node.name}\n{waiting.kind} {waiting.object or ''}\n{waiting.at}"


def _quoted(text: str) -> str:
    lines = "\n".join(map(inert, text.split("\n")))
    return '"' + lines.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
