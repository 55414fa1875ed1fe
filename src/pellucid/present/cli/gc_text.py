"""`gc PID` and `gc LOG`: which of the three it is about, a JVM, a Python process or a log, and what that needs."""

import os

from pellucid.present.cli import plain


def show(
    target: str,
    *,
    as_json: bool,
    watch: bool = False,
    seconds: float | None = None,
    interval_s: float = 1.0,
    ask: bool = False,
    page: str | None = None,
    force: bool = False,
) -> int:
    """Look and print; the exit status is 0, what goes wrong is raised."""
    if "/" in target or (not target.isdigit() and os.path.isfile(target)):
        from pellucid.present.cli.gc_log_text import show as show_log

        return show_log(target, as_json=as_json, page=page, force=force)
    pid = plain.resolve(target)
    if runtime(pid) == "JVM":
        from pellucid.present.cli.gc_jvm_text import show as show_jvm
        from pellucid.present.cli.gc_jvm_text import watched

        if watch or seconds is not None:
            return watched(pid, as_json=as_json, seconds=seconds, interval_s=interval_s)
        return show_jvm(pid, as_json=as_json, ask=ask)
    from pellucid.present.cli.gc_python_text import show as show_python

    return show_python(pid, as_json=as_json, watch=watch, seconds=seconds, interval_s=interval_s)


def runtime(pid: int) -> str:
    """`JVM`, `Python 3.13`, or "" for others. Raises NoSuchProcess."""
    from pellucid.observe.identity import info_runtime

    return info_runtime(pid)
