"""More threads want to run than there are CPUs for them: libraries for linear algebra start a thread for each CPU in every process.

Threads of Python code alone can't do that, since one of them runs at a time (the GIL): those that are ready to run at both looks are
at work in C code. OMP_NUM_THREADS and its relatives bound them (OpenMP 5.2, 21.2; OpenBLAS and MKL go by it too).
"""

from collections.abc import Iterator

from pellucid.model import Finding, Ref, Snapshot

_TIMES = 2.0


def wants_more_cpus_than_there_are(seen: Snapshot) -> Iterator[Finding]:
    use = seen.resources
    cpus = use.usable_cpus
    if use.running < 2 or cpus <= 0:
        return
    if use.running + use.siblings_running < _TIMES * cpus:
        return
    pid = seen.process.pid
    others = (
        f", and {use.siblings_running} more process{'es' if use.siblings_running > 1 else ''} named {seen.process.name} run too"
        if use.siblings_running
        else ""
    )
    told = ", ".join(f"{name}={value}" for name, value in sorted(use.thread_variables.items()))
    room = max(1, int(cpus / (use.siblings_running + 1)))
    yield Finding(
        rule="oversubscribed",
        severity="notice",
        title=f"{use.running} threads want {_cpus(cpus)}",
        sentence=f"{use.running} threads of pid {pid} were ready to run at both looks, and it may use {_cpus(cpus)}{others}: they take turns, which costs "
        f"more than it gains. {f'It was started with {told}.' if told else 'None of OMP_NUM_THREADS, OPENBLAS_NUM_THREADS, MKL_NUM_THREADS is set.'} "
        f"If they are threads of a numeric library, OMP_NUM_THREADS={room} at its start bounds them.",
        evidence=(
            Ref(source=f"/proc/{pid}/task/*/stat", said=f"{use.running} threads in state R at both looks"),
            Ref(source="sched_getaffinity, cpu.max", said=f"{cpus:g} CPUs"),
        ),
        next=(f"pellucid stacks {pid}",),
        confidence="certain",
    )


def _cpus(cpus: float) -> str:
    return f"{cpus:g} CPU{'' if cpus == 1 else 's'}"
