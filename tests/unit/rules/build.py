"""Small frozen worlds for the rules: every argument has a value that means "nothing special"."""

from pellucid.model import Call, Cost, Frame, Gap, Peer, Process, Seen, Snapshot, Socket, Task, Thread, Wait, Watched

COST = Cost(wall_s=0.1, cpu_s=0.01)
STDLIB = "/usr/lib/python3.13/"


def process(pid=41, state="sleeping", **other):
    return Process(
        **{
            "pid": pid,
            "ppid": 1,
            "name": "python",
            "command": ("python", "app.py"),
            "state": state,
            "uid": 0,
            "user": "root",
            "started_at": 1.0,
            "start_ticks": 100,
            "threads": 1,
            **other,
        }
    )


def frame(function, file="/srv/app.py", line=12):
    return Frame(function=function, qualname=function, file=file, line=line)


def library(function, file):
    return frame(function, STDLIB + file, 300)


def thread(
    tid=41, name="MainThread", *, wait=None, frames=(), state="sleeping", switches=7, cpu_s=1.0, call="futex", **other
):
    number = None if state == "running" else 202
    task = Task(
        tid=tid,
        name="python",
        state=state,
        call=Call(name=call, number=number, arguments=(0x7F00, 0x189)),
        wchan=None,
        cpu_s=cpu_s,
        switches=switches,
        asleep_s=wait.since_s if wait else None,
    )
    python = other.pop("python", True)
    return Thread(tid=tid, name=name, state=state, frames=tuple(frames), wait=wait, task=task, python=python, **other)


def wait(kind="lock", since_s=41.0, call="futex", **other):
    return Wait(kind=kind, call=call, since_s=since_s, **other)


def on_socket(socket, wants="read", call="recvfrom", since_s=41.0, fd=3):
    what = f"{socket.proto} {socket.local} → {socket.remote}"
    return wait(
        "socket", since_s, call, watched=(Watched(fd=fd, what=what, wants=wants, socket=socket, kind="socket"),)
    )


def tcp(
    state="ESTABLISHED", local="127.0.0.1:40000", remote="127.0.0.1:8000", rx_queue=0, tx_queue=0, inode=900, **other
):
    return Socket(
        fd=3,
        proto="tcp",
        state=state,
        local=local,
        remote=remote,
        rx_queue=rx_queue,
        tx_queue=tx_queue,
        inode=inode,
        **other,
    )


def peer(pid=43, state="sleeping", threads=(), fd=3, gaps=()):
    return Peer(
        process=process(pid, state, command=("python", "server.py")),
        relation=f"the other end of fd {fd}",
        fd=fd,
        threads=tuple(threads),
        gaps=tuple(gaps),
    )


def snapshot(*threads, earlier=None, peers=(), sockets=(), files=(), gaps=(), **other):
    """By default the threads were the same at the first look: nothing woke."""
    return Snapshot(
        process=other.pop("process", process()),
        taken_at=1000.0,
        span_s=0.1,
        threads=tuple(threads),
        earlier=tuple(threads if earlier is None else earlier),
        sockets=tuple(sockets),
        files=tuple(files),
        peers=tuple(peers),
        gaps=tuple(gaps),
        cost=COST,
        **other,
    )


__all__ = ["Gap", "Seen", "frame", "library", "on_socket", "peer", "process", "snapshot", "tcp", "thread", "wait"]
