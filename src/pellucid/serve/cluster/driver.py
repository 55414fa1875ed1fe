"""`pellucid serve NAME --cluster ray`: deploys a stored version by Ray Serve, and stays to tell what happens there, until SIGTERM or Ctrl-C.

    loan version 1 answers on http://127.0.0.1:8000 by 2 replicas on a Ray cluster of 2 nodes
    node ip-10-0-0-7: worker 0 (pid 812) has been in request r-0-7 (1 row) for 30.0 s of its 30 s, and was replaced: ...

The cluster is the one at RAY_ADDRESS, or the one whose node this machine is. The address is one of every node's proxy: a load balancer before them is
the user's. When the alias moves, Ray Serve exchanges the replicas one after the other. At the end the application is deleted, and Ray Serve too
where this command had started it.
"""

import contextlib
import logging
import os
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import msgspec
from msgspec.structs import replace

from pellucid.model.errors import UsageError
from pellucid.model.incident import Incident
from pellucid.serve import bundle
from pellucid.serve.cluster.joining import join
from pellucid.serve.incidents import Incidents
from pellucid.serve.log import Record, Screen
from pellucid.serve.options import Options
from pellucid.serve.store import Store

NEWS_S = 1.0
"""So often the nodes are asked for incidents, and the alias is read."""
ASK_S = 10.0
ANSWERS_WITHIN_S = 10.0
CONTROLLER = ("SERVE_CONTROLLER_ACTOR", "serve")
"""Name and namespace of Ray Serve's controller (python/ray/serve/_private/constants.py)."""


class Deployed:
    """One model on one cluster. `follow`: the version that is wanted now, None for the one that is there (`Supervisor`)."""

    def __init__(self, options: Options, screen: Screen, follow: Callable[[bool], int | None]) -> None:
        self.options = options
        self.screen = screen
        self.follow = follow
        self.name, _, version = options.model.partition(":")
        self.version = int(version)
        self.store = Store(options.store)
        self.incidents = Incidents()
        self._nodes: dict[str, tuple[str, Any]] = {}
        self._told: dict[str, tuple[str, int]] = {}
        self._brought: set[str] = set()
        self._up = False
        self._ending = False

    def run(self) -> int:
        """Until it is told to stop; the exit status. UsageError where the cluster or the model can't serve."""
        join("serve on a Ray cluster")
        import ray
        from ray import serve

        with _stopped(self._stop):
            try:
                self._enough(ray)
                started = _start(ray, serve, self.options)
                self._alone(serve)
                try:
                    self._meet(ray)
                    self._deploy(serve, self.version)
                    self._announce(ray)
                    self._up = True
                    while not self._ending:
                        self._look_around(ray, serve)
                        _pause(NEWS_S, lambda: self._ending)
                finally:
                    self._end(ray, serve, started)
            finally:
                ray.shutdown()
        return 0

    def _stop(self) -> None:
        if self._ending or not self._up:
            raise KeyboardInterrupt  # the second time, or before there was anything to end in order: now
        self._ending = True

    def _enough(self, ray: Any) -> None:
        """Ray Serve would wait for more CPUs without an end, since a cluster may grow."""
        has = ray.cluster_resources().get("CPU", 0.0)
        if has < self.options.workers:
            raise UsageError(
                tried=f"start {self.options.workers} replicas of {self.options.model}",
                said=f"each needs a CPU, and the Ray cluster has {has:g}",
                remedy=f"--workers {int(has)}, or a larger cluster" if has >= 1 else "add nodes to the cluster",
            )

    def _alone(self, serve: Any) -> None:
        """One application has the paths of an address: /predict, /readyz, ... (route_prefix "/")."""
        for name, application in serve.status().applications.items():
            if getattr(application, "route_prefix", "/") == "/":
                raise UsageError(
                    tried=f"deploy {self.options.model} on the Ray cluster",
                    said=f"the application {name!r} is served there already, by this address",
                    remedy="end the command that serves it, or `serve shutdown`, which ends all that Ray Serve has there",
                )

    def _meet(self, ray: Any) -> None:
        """An actor on each living node that has none yet. Its import fails where pellucid is not installed: told once, and left out."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        from pellucid.serve.cluster.node import Node

        living = {node["NodeID"]: node.get("NodeManagerHostname", "?") for node in ray.nodes() if node["Alive"]}
        self._nodes = {number: known for number, known in self._nodes.items() if number in living}
        for number, host in living.items():
            if number not in self._nodes:
                strategy = NodeAffinitySchedulingStrategy(number, soft=False)
                actor = ray.remote(Node).options(num_cpus=0, scheduling_strategy=strategy).remote()
                self._nodes[number] = (f"{host}, {number[:8]}", actor)

    def _deploy(self, serve: Any, version: int) -> None:
        """Returns once all replicas have predicted their sample."""
        import ray

        from pellucid.serve.cluster.replica import Replica

        options = replace(self.options, model=f"{self.name}:{version}")
        manifest = self.store.resolve(options.model)
        deployment = serve.deployment(Replica).options(
            name=self.name,
            num_replicas=options.workers,
            max_ongoing_requests=options.max_queue,
            max_queued_requests=options.max_queue,
            health_check_period_s=max(1.0, min(10.0, options.timeout_s / 4)),
            health_check_timeout_s=max(2.0, min(30.0, options.timeout_s)),
            graceful_shutdown_timeout_s=options.timeout_s + 1,
            ray_actor_options={"num_cpus": 1},
        )
        application = deployment.bind(options, bundle.packed(self.store, manifest))
        try:
            serve.run(application, name=self.name, route_prefix="/", blocking=False)
        except (RuntimeError, ray.exceptions.RayError) as error:
            raise UsageError(
                tried=f"deploy {options.model} on the Ray cluster",
                said=_why(serve, self.name) or str(error).splitlines()[-1],
                remedy=f"pellucid models verify {options.model}, here and on a node",
            ) from error
        self.version = version

    def _announce(self, ray: Any) -> None:
        address = f"http://{_reached(self.options.host)}:{self.options.port}"
        told = _ask(f"{address}/readyz")
        if told.get("model") != self.name:
            raise UsageError(
                tried=f"reach {self.name} at {address}",
                said=f"what answers there is not it: {str(told)[:200]}",
                remedy="give the --host and --port that Ray Serve was started with on this cluster, or `serve shutdown` first",
            )
        nodes = sum(bool(node["Alive"]) for node in ray.nodes())
        said = f"{self.name} version {self.version} answers on {address} by {self.options.workers} replicas on a Ray cluster of {nodes} node{'s' if nodes > 1 else ''}"
        self._say("info", "ready", said)

    def _look_around(self, ray: Any, serve: Any) -> None:
        self._meet(ray)
        for where, actor in self._nodes.values():
            try:
                for content in ray.get(actor.news.remote(), timeout=ASK_S):
                    self._news(where, msgspec.json.decode(content, type=Incident))
            except ray.exceptions.RayError as error:
                said = f"node {where} tells no incidents: {type(error).__name__}: {str(error).strip().splitlines()[-1]}"
                self._once(f"node {where}", "warning", "node_silent", said)
        try:
            version = self.follow(False)
        except UsageError as error:
            self._once("alias", "error", "follow_failed", f"{error.tried}: {error.said}")
            return
        if version is not None and version != self.version:
            self._exchange(serve, version)

    def _news(self, where: str, incident: Incident) -> None:
        if incident.model != self.name:
            return
        if incident.id in self._brought or not os.path.exists(os.path.join(self.incidents.root, f"{incident.id}.json")):
            self._brought.add(incident.id)  # of another machine; where the disk is shared, it is here already
            self.incidents.save(incident)
        level = {"open": "warning", "recovered": "info", "replaced": "error"}[incident.outcome]
        ends = {"open": "", "recovered": ", and answered after all", "replaced": ", and is replaced"}[incident.outcome]
        key = (incident.outcome, len(incident.looks))
        if self._told.get(incident.id) != key and (incident.looks or incident.outcome != "open"):
            self._told[incident.id] = key
            said = f"node {where}: {incident.sentence}{ends}: {incident.cause}"
            self.screen.tell(
                Record(level=level, event=incident.kind, sentence=said, pid=incident.pid, incident=incident.id)  # type: ignore[arg-type]
            )

    def _exchange(self, serve: Any, version: int) -> None:
        self._say("info", "reload", f"{self.name} version {version} takes the place of version {self.version}")
        before = self.version
        try:
            self._deploy(serve, version)
        except UsageError as error:
            self.version = version  # not tried again until the alias moves
            self._say(
                "error", "reload_failed", f"{error.tried}: {error.said}; version {before} is what Ray Serve has left"
            )
            return
        self._say("info", "reloaded", f"{self.name} version {version} answers")

    def _end(self, ray: Any, serve: Any, started: bool) -> None:
        self._say("info", "stop", f"{self.name} is taken off the Ray cluster")
        with contextlib.suppress(ray.exceptions.RayError, RuntimeError):  # the cluster itself may be gone
            serve.delete(self.name, _blocking=True)
            if started and not serve.status().applications:
                serve.shutdown()

    def _once(self, about: str, level: Any, event: str, sentence: str) -> None:
        if self._told.get(about) != (sentence, 0):
            self._told[about] = (sentence, 0)
            self._say(level, event, sentence)

    def _say(self, level: Any, event: str, sentence: str) -> None:
        self.screen.tell(Record(level=level, event=event, sentence=sentence))


def _start(ray: Any, serve: Any, options: Options) -> bool:
    """Ray Serve with a proxy on every node; False where it runs already, with an address of its own. Raises UsageError."""
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    try:
        ray.get_actor(*CONTROLLER)
        there = True
    except ValueError:
        there = False
    try:
        serve.start(proxy_location="EveryNode", http_options={"host": options.host, "port": options.port})
    except ray.exceptions.RayError as error:
        said = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        raise UsageError(
            tried="start Ray Serve on the cluster",
            said=said[-1],
            remedy="ray status  (and its logs in session_latest/logs/serve, in the cluster's temporary folder)",
        ) from error
    return not there


def _why(serve: Any, name: str) -> str:
    """What Ray Serve says of a deployment that failed: the last line of its traceback."""
    application = serve.status().applications.get(name)
    told: list[str] = [deployment.message for deployment in application.deployments.values()] if application else []
    lines = [line.strip() for message in told for line in message.splitlines() if line.strip()]
    errors = [line for line in lines if "Error" in line]
    return (errors or lines or [""])[-1]


def _reached(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)


def _ask(url: str) -> dict[str, Any]:
    """Its JSON, also of a refusal; routes reach the proxies a moment after the replicas are ready."""
    until = time.monotonic() + ANSWERS_WITHIN_S
    said: dict[str, Any] = {}
    while time.monotonic() < until:
        try:
            with urllib.request.urlopen(url, timeout=5) as reply:
                found: dict[str, Any] = msgspec.json.decode(reply.read(), type=dict[str, Any])
                return found
        except (OSError, msgspec.DecodeError) as error:
            said = {"error": str(error)}
        time.sleep(0.2)
    return said


def _pause(seconds: float, ended: Callable[[], bool]) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until and not ended():
        time.sleep(0.05)


@contextlib.contextmanager
def _stopped(stop: Callable[[], None]) -> Iterator[None]:
    def heard(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        stop()

    before = {number: signal.signal(number, heard) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
