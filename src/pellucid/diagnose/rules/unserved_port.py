"""It has a listening socket that it does not serve: the port stays taken as long as it lives, and a new server gets EADDRINUSE (bind(2)).

A child inherits every descriptor; over an exec those that are not marked close-on-exec (fcntl(2), FD_CLOEXEC). Told where another
program with the socket is the parent, or where the parent has ended. A worker of a server has it from its parent too, but runs the same
program: of that nothing is said, since it may just be busy.
"""

from collections.abc import Iterator

from pellucid.diagnose import words
from pellucid.diagnose.parents import is_a_child_of_multiprocessing, reaps
from pellucid.model import Finding, Process, Ref, Snapshot, UnservedPort


def holds_a_port_it_does_not_serve(seen: Snapshot) -> Iterator[Finding]:
    parent = seen.resources.parent
    for port in seen.resources.unserved:
        giver = next((one for one in port.holders if parent is not None and one.pid == parent.pid), None)
        if giver is not None and giver.pid != 1 and not port.closes_on_exec and _another_program(seen.process, giver):
            yield _shared(seen, port, giver)
        elif not port.holders and parent is not None and reaps(parent) and _may_be_inherited(seen, port):
            yield _left(seen, port, parent)


def _another_program(process: Process, giver: Process) -> bool:
    return process.exe != giver.exe or process.command != giver.command


def _may_be_inherited(seen: Snapshot, port: UnservedPort) -> bool:
    """It survived an exec, or a fork by multiprocessing; and nothing here moves that could come to serve it."""
    still = bool(seen.threads) and all(seen.steady(thread) for thread in seen.threads)
    return still and (not port.closes_on_exec or is_a_child_of_multiprocessing(seen) is not None)


def _shared(seen: Snapshot, port: UnservedPort, giver: Process) -> Finding:
    pid = seen.process.pid
    return Finding(
        rule="unserved-port",
        severity="notice",
        title=f"pid {pid} has inherited the listening socket {port.local}",
        sentence=f"fd {port.fd} is the socket on which its parent, {words.called(giver)}, listens at {port.local}; no thread here waits for "
        f"connections. If the parent ends, pid {pid} keeps the port, and a new server gets EADDRINUSE.",
        evidence=(_evidence(pid, port), Ref(source=f"/proc/{giver.pid}/fd", said="holds the same socket")),
        next=(f"pellucid files --port {_number(port)}", f"pellucid why {giver.pid}"),
        confidence="certain",  # two descriptors of one socket, and an exec between them
    )


def _left(seen: Snapshot, port: UnservedPort, parent: Process) -> Finding:
    pid = seen.process.pid
    return Finding(
        rule="unserved-port",
        severity="warning",
        title=f"pid {pid} holds {port.local} and does not serve it",
        sentence=f"fd {port.fd} listens at {port.local}, but no thread here waits for connections, and the process that started pid {pid} has ended "
        f"(its parent is now {words.called(parent)}): if it inherited the socket, it keeps the port, and a new server gets EADDRINUSE.",
        evidence=(_evidence(pid, port), Ref(source=f"/proc/{pid}/stat", said=f"parent {parent.pid} ({parent.name})")),
        next=(f"pellucid stacks {pid}", f"kill {pid}"),
        confidence="possible",  # who made the socket is written nowhere
    )


def _evidence(pid: int, port: UnservedPort) -> Ref:
    said = f"LISTEN, in no poll, accept or epoll set{'' if port.closes_on_exec else ', not close-on-exec'}"
    return Ref(source=f"/proc/{pid}/fd/{port.fd}", said=said)


def _number(port: UnservedPort) -> str:
    return port.local.rpartition(":")[2]
