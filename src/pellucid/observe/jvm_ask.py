"""One question to a running JVM, and its answer as it is."""

from pellucid.runtimes.jvm.attach import Answer, Attach


def ask(pid: int, name: str, *arguments: str, limit_s: float) -> Answer:
    """Raises what `Attach` raises: NotUnderstood, NotPermitted, NoSuchProcess, Partial."""
    with Attach(pid, "jvm cmd", limit_s=limit_s) as attach:
        return attach.ask(name, *arguments)


__all__ = ["Answer", "ask"]
