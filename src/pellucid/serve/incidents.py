"""Incidents on disk, two files each: `i-….json` with both looks, `i-….txt` for a person. The newest KEPT of them stay."""

import contextlib
import os
import time

import msgspec
from msgspec import Struct

from pellucid import home
from pellucid.model import Gap
from pellucid.model.errors import UsageError, os_words
from pellucid.model.incident import Incident, LookAt
from pellucid.serve import chronicle, durable

KEPT = 500

_NAME = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")


class Row(Struct, frozen=True):
    """One incident in a list."""

    id: str
    at: float
    pid: int
    worker: int
    kind: str
    sentence: str
    cause: str
    outcome: str
    model: str
    version: int


class Incidents:
    """`root` is their folder; it need not exist until one is saved."""

    def __init__(self, root: str | None = None) -> None:
        self.root = root or home.incidents()
        durable.sweep(self.root)

    def save(self, incident: Incident) -> None:
        """Write it, or write it anew as more is known. UsageError where the disk refuses. The supervisor can't wait for a busy disk: no fsync."""
        encoded = msgspec.json.format(msgspec.json.encode(incident), indent=1)
        told = "".join(f"{line}\n" for line in lines(incident)).encode()
        durable.write(os.path.join(self.root, f"{incident.id}.json"), encoded, synced=False)
        durable.write(os.path.join(self.root, f"{incident.id}.txt"), told, synced=False)
        self._forget_oldest()

    def _forget_oldest(self) -> None:
        names = self.ids()
        for name in names[KEPT:]:
            for suffix in (".json", ".txt"):
                with contextlib.suppress(OSError):  # another server of the same user may have been quicker
                    os.unlink(os.path.join(self.root, name + suffix))

    def ids(self) -> list[str]:
        """Newest first: an id begins with its time."""
        try:
            entries = os.listdir(self.root)
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise _unreadable(self.root, error) from error
        return sorted(
            (entry[:-5] for entry in entries if entry.startswith("i-") and entry.endswith(".json")), reverse=True
        )

    def newest(self, most: int) -> tuple[tuple[Row, ...], tuple[Gap, ...]]:
        """At most so many, newest first, without their looks; a damaged one is a gap."""
        found, gaps = [], []
        for name in self.ids()[:most]:
            path = os.path.join(self.root, f"{name}.json")
            try:
                with open(path, "rb") as file:
                    found.append(msgspec.json.decode(file.read(), type=Row))
            except FileNotFoundError:  # forgotten meanwhile
                continue
            except OSError as error:
                gaps.append(Gap(what=f"incident {name}", why=os_words(error)))
            except msgspec.DecodeError as error:
                gaps.append(Gap(what=f"incident {name}", why=f"{path} is damaged: {error}"))
        return tuple(found), tuple(gaps)

    def load(self, name: str) -> Incident:
        """UsageError where there is no such incident, or its file is damaged."""
        if not set(name) <= _NAME:
            raise self._none(name)
        path = os.path.join(self.root, f"{name}.json")
        try:
            with open(path, "rb") as file:
                return msgspec.json.decode(file.read(), type=Incident)
        except FileNotFoundError:
            raise self._none(name) from None
        except OSError as error:
            raise _unreadable(path, error) from error
        except msgspec.DecodeError as error:
            raise UsageError(
                tried=f"show incident {name!r}",
                said=f"{path} is damaged: {error}",
                remedy=f"{path[:-5]}.txt may still be readable",
            ) from error

    def _none(self, name: str) -> UsageError:
        return UsageError(
            tried=f"show incident {name!r}",
            said=f"there is none of that name in {self.root}",
            remedy="pellucid incidents  (lists them)",
        )


def _unreadable(path: str, error: OSError) -> UsageError:
    return UsageError(
        tried=f"read {path}", said=os_words(error), remedy="run as the user who owns it, or set XDG_DATA_HOME"
    )


def lines(incident: Incident) -> list[str]:
    """The whole incident for a person."""
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(incident.at))
    told = [
        f"{incident.id}  {at}  {incident.model} version {incident.version}",
        f"what    {incident.sentence}",
        f"why     {incident.cause}",
        f"end     {incident.outcome}" + (f"; the client got: {incident.client}" if incident.client else ""),
    ]
    if incident.request is not None:
        request = incident.request
        trace = f", trace {request.trace_id}" if request.trace_id else ""
        told.append(f"request {request.id}, {chronicle.rows(request)}, {request.age_s:.1f} s in predict{trace}")
    if incident.rss_bytes is not None:
        told.append(f"memory  {incident.rss_bytes / 1048576:.0f} MiB resident")
    if incident.last_error:
        told.append(f"error   {incident.last_error}")
    told += (f"past    {command}" for command in incident.replay)
    for look in incident.looks:
        told += ["", *_look(look)]
    return told


def _look(look: LookAt) -> list[str]:
    at = time.strftime("%H:%M:%S", time.localtime(look.at))
    moment = {
        "half": "at half the deadline",
        "deadline": "at the deadline",
        "grown": "when it had grown",
        "full": "when it was full",
    }[look.moment]
    told = [f"{at}, {moment} (the look took {look.took_s:.2f} s): {look.sentence}"]
    if look.why_not:
        told.append(f"  not seen: {look.why_not}")
    if look.snapshot is None:
        return told
    for thread in look.snapshot.threads:
        call = (
            f" in {thread.task.call.name}"
            if thread.task.call is not None and thread.task.call.number is not None
            else ""
        )
        told.append(f"  thread {thread.name} (tid {thread.tid}), {thread.state}{call}")
        told += [f"    {frame}" for frame in thread.frames[:20]]
        if len(thread.frames) > 20:
            told.append(f"    … {len(thread.frames) - 20} more")
    for socket in look.snapshot.sockets:
        peer = f", peer pid {socket.peer_pid}" if socket.peer_pid else ""
        ends = f"{socket.local or 'unnamed'} → {socket.remote or 'unnamed'}"
        told.append(f"  fd {socket.fd}: {socket.proto} {ends} {socket.state}{peer}")
    return told
