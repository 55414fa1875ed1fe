"""The incidents that are not closed yet: opened for a worker, added to by each look, decided, and saved each time. Values in, values out.

A decision does not wait for a look that is still going on: what that sees is added to the incident afterwards.
"""

from pellucid.model.incident import Incident, IncidentKind, Moment
from pellucid.serve import chronicle
from pellucid.serve.events import Count, Describe, Instruction, Look, Looked, Save
from pellucid.serve.slots import Seen
from pellucid.serve.supervised import Limits, Supervised


class Cases:
    """A part of `state.Supervision`, which alone calls it; instructions go to its list `out`."""

    def __init__(self, limits: Limits, out: list[Instruction]) -> None:
        self.limits = limits
        self._out = out
        self._closed: dict[str, tuple[Incident, int]] = {}
        """Incidents that are decided while looks of theirs, so many, are still going on."""

    def open(
        self, worker: Supervised, seen: Seen, kind: IncidentKind, *, now: float, wall: float, silent_s: float
    ) -> Incident:
        """It is the worker's incident from now on; the caller saves it."""
        worker.incident = chronicle.opened(
            kind,
            seen,
            now=now,
            wall=wall,
            silent_s=silent_s,
            timeout_s=self.limits.timeout_s,
            model=self.limits.model,
            version=worker.version,
            grown=seen.rss - (worker.settled_rss or 0),
        )
        worker.looks = 0
        self._out.append(Count(kind))
        return worker.incident

    def ask_look(self, worker: Supervised, seen: Seen, moment: Moment) -> None:
        assert worker.incident is not None
        worker.last_look = moment == "deadline"
        worker.looks += 1
        tid = seen.predict_tid if seen.started and seen.predict_tid else worker.pid
        self._out.append(Look(pid=worker.pid, tid=tid, incident=worker.incident.id, moment=moment))

    def awaits_a_look(self, worker: Supervised) -> bool:
        """One is still going on: a worker that is killed meanwhile could not be seen by it."""
        return worker.incident is not None and worker.looks > len(worker.incident.looks)

    def looked(self, event: Looked, worker: Supervised | None) -> None:
        """Add what was seen. `worker`: the one whose incident it is; None where that is closed, or forgotten."""
        look = event.look
        if worker is None or worker.incident is None:
            if event.incident in self._closed:
                self._looked_late(event)
            return
        worker.incident = chronicle.looked_at(worker.incident, look)
        if look.moment == "half":
            noticed = chronicle.noticed(worker.incident, look)
            self._out += (Save(worker.incident), Describe(worker.slot, noticed.sentence), noticed)
        elif look.moment in {"grown", "full"}:
            self._out += (Save(worker.incident), chronicle.noticed(worker.incident, look))

    def _looked_late(self, event: Looked) -> None:
        incident, awaited = self._closed.pop(event.incident)
        incident = chronicle.looked_at(incident, event.look)
        if awaited > 1:
            self._closed[incident.id] = incident, awaited - 1
        self._out.append(Save(incident))
        if event.look.moment != "deadline":
            self._out.append(chronicle.noticed(incident, event.look))

    def close(self, worker: Supervised, incident: Incident) -> None:
        """It is decided; a look that is still going on will be added to it."""
        awaited = worker.looks - len(incident.looks)
        if awaited > 0:
            self._closed[incident.id] = incident, awaited
        self._out.append(Save(incident))
        worker.incident = None
