"""`pellucid info PID`: who a process is."""

import time

import click

from pellucid.model import Process
from pellucid.model.report import InfoReport
from pellucid.present.cli import options, screen


@click.command("info")
@options.target
@options.as_json
def command(target: str, as_json: bool) -> None:
    """Tell who process PID is: command, user, start, limits, cgroup, namespaces, parents and children."""
    from pellucid.observe.identity import info

    report = info(options.resolve(target))
    if as_json:
        options.emit(report)
        return
    for name, value in _pairs(report):
        screen.say(screen.printable(f"{name:<13}{value}"))
    for line in screen.gaps(report.gaps):
        screen.say(line, dim=True)


def _pairs(report: InfoReport) -> list[tuple[str, str]]:
    process, identity = report.process, report.identity
    assert process is not None
    started = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(process.started_at))
    pairs = [
        (
            "pid",
            str(process.pid)
            + (f" (in its namespaces: {', '.join(map(str, identity.ns_pids))})" if len(identity.ns_pids) > 1 else ""),
        ),
        ("name", process.name),
        ("command", " ".join(process.command)),
        ("executable", process.exe or "not readable"),
        ("runtime", process.runtime or "none that was recognised"),
        ("state", process.state),
        ("user", f"{process.user} ({process.uid})"),
        ("started", started),
        ("directory", identity.cwd or "not readable"),
        ("cpu", f"{identity.cpu_s:.1f} s"),
        ("memory", f"{identity.rss_bytes / 1048576:.1f} MiB resident"),
        ("threads", str(process.threads)),
        ("open files", "not readable" if identity.open_files is None else str(identity.open_files)),
        ("parents", " ← ".join(_short(parent) for parent in identity.parents) or "none"),
        (
            "children",
            ", ".join(_short(child) for child in identity.children[:8])
            + (f" and {len(identity.children) - 8} more" if len(identity.children) > 8 else "")
            or "none",
        ),
        ("cgroup", ", ".join(identity.cgroups) or "none"),
        ("namespaces", " ".join(f"{kind}:{inode}" for kind, inode in identity.namespaces.items()) or "not readable"),
    ]
    if identity.root not in {None, "/"}:
        pairs.append(("root", str(identity.root)))
    if identity.tracer:
        pairs.append(("traced by", f"pid {identity.tracer}"))
    pairs += (
        ("limit", f"{limit.name}: {_limit(limit.soft)} (hard {_limit(limit.hard)}) {limit.unit}".rstrip())
        for limit in identity.limits
        if limit.name
        in {"Max open files", "Max processes", "Max address space", "Max locked memory", "Max core file size"}
    )
    return pairs


def _limit(value: int | None) -> str:
    return "unlimited" if value is None else str(value)


def _short(process: Process) -> str:
    return f"{process.pid} {process.name}"
