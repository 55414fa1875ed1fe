"""What the page asks for.

GET  /                                  the page itself
GET  /page/NAME                         its modules and its style
GET  /api/live?pid=N&view=V             server-sent events: what is there, then what changes
GET  /api/p/PID/files, sockets, ...     one look now, the document that `pellucid files PID --json` prints (all of these take ?host=NAME)
GET  /api/p/PID/offers                  which looks cost something, and what
POST /api/p/PID/jobs                    start one of those; POST /api/p/PID/ask: a closer look at a JVM
GET  /api/jobs/ID?from=N, /flame, /file, /as/FORMAT   its answer; POST /api/jobs/ID/stop
GET  /api/compare/BEFORE/AFTER          the flame graph of what changed between two recordings
GET  /api/serving                       the model servers of this machine
The past is in `past.py`.
"""

import asyncio
import importlib
import os
import pkgutil
import re
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import Route

from pellucid.export.profiles import FORMATS
from pellucid.kernel import procfs
from pellucid.model.errors import PellucidError
from pellucid.model.profile import Profile
from pellucid.model.report import Report, SocketsReport
from pellucid.present.view import elsewhere
from pellucid.present.view.actions import Asked, offers
from pellucid.present.view.told import Failed
from pellucid.present.web import past
from pellucid.present.web.answers import checked_pid, document, encode, flame, in_three_lines, refused, whole
from pellucid.present.web.hub import Hub, Wanted
from pellucid.present.web.jobs import Job

PAGE = "pellucid.present.web"
KINDS = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_NAME = re.compile(r"[a-z]+\.(html|css|js|svg)")


def _files(pid: int) -> Report:
    from pellucid.observe.files import files

    return files(pid)


def _sockets(pid: int) -> Report:
    from pellucid.observe.sockets import sockets

    process = procfs.process(pid)
    found, gaps = sockets(pid)
    return SocketsReport(process=process, taken_at=time.time(), gaps=gaps, sockets=found)


def _environment(pid: int) -> Report:
    from pellucid.observe.environment import environment

    return environment(pid)


def _info(pid: int) -> Report:
    from pellucid.observe.identity import info

    return info(pid)


def _tasks(pid: int) -> Report:
    from pellucid.observe.tasks import tasks

    return tasks(pid)


LOOKS: dict[str, Callable[[int], Report]] = {
    "files": _files,
    "sockets": _sockets,
    "environment": _environment,
    "info": _info,
    "tasks": _tasks,
}
"""Cheap enough to be made whenever a view is opened."""
WORDS = {
    "files": ("files", "PID"),
    "sockets": ("sockets", "PID"),
    "environment": ("env", "PID"),
    "info": ("info", "PID"),
    "tasks": ("stacks", "PID", "--tasks"),
}
"""The commands that give the same documents, for a process of another machine."""


class Api:
    """The application behind the gate."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.app = Starlette(
            routes=[
                Route("/", self.index),
                Route("/page/{name}", self.part),
                Route("/api/live", self.live),
                Route("/api/serving", self.serving),
                Route("/api/p/{pid:int}/offers", self.offers),
                Route("/api/p/{pid:int}/ask", self.ask, methods=["POST"]),
                Route("/api/p/{pid:int}/jobs", self.start, methods=["POST"]),
                *past.ROUTES,
                Route("/api/p/{pid:int}/{what}", self.look),
                Route("/api/jobs/{job}", self.job),
                Route("/api/jobs/{job}/stop", self.stop, methods=["POST"]),
                Route("/api/jobs/{job}/flame", self.flame),
                Route("/api/jobs/{job}/as/{form}", self.download),
                Route("/api/jobs/{job}/file", self.file),
                Route("/api/compare/{before}/{after}", self.compare),
            ],
            exception_handlers={HTTPException: refused, PellucidError: in_three_lines},
        )

    async def index(self, request: Request) -> Response:  # noqa: ARG002
        return _part("index.html")

    async def part(self, request: Request) -> Response:
        return _part(request.path_params["name"])

    async def live(self, request: Request) -> Response:
        told = request.query_params
        pid = told.get("pid", "")
        number = checked_pid(int(pid)) if pid.isascii() and pid.isdigit() else None
        wanted = Wanted(number, told.get("view", "")[:20], self._host(request))
        return StreamingResponse(_events(self.hub, wanted), media_type="text/event-stream")

    async def look(self, request: Request) -> Response:
        make = LOOKS.get(request.path_params["what"])
        if make is None:
            raise HTTPException(404)
        pid, host = checked_pid(request.path_params["pid"]), self._host(request)
        if not host:
            return document(await asyncio.to_thread(make, pid))
        words = tuple(str(pid) if word == "PID" else word for word in WORDS[request.path_params["what"]])
        found = await asyncio.to_thread(elsewhere.document, host, words)
        return document({"error": found}, 409) if isinstance(found, Failed) else document(msgspec.Raw(found))

    async def offers(self, request: Request) -> Response:
        pid, host = checked_pid(request.path_params["pid"]), self._host(request)
        row = self.hub.row(host, pid)
        return document(offers(pid, row.runtime if row else "", host))

    async def ask(self, request: Request) -> Response:
        await self.hub.ask(Wanted(checked_pid(request.path_params["pid"]), "now", self._host(request)))
        return document({})

    def _host(self, request: Request) -> str:
        """The machine that is asked, one of those that the page was begun with; "" for this one."""
        name = request.query_params.get("host", "")
        if name and name not in self.hub.remotes:
            raise HTTPException(404, "this page does not show that machine: pellucid web --host NAME")
        return name

    async def start(self, request: Request) -> Response:
        pid = checked_pid(request.path_params["pid"])
        try:
            asked = msgspec.json.decode(await request.body(), type=Asked)
        except msgspec.DecodeError as error:  # ValidationError is one
            raise HTTPException(422, str(error)) from error
        asked = msgspec.structs.replace(asked, host=self._host(request))
        row = self.hub.row(asked.host, pid)
        job = self.hub.jobs.start(pid, asked, java=row is not None and row.runtime.startswith("JVM"))
        return document(job.row())

    async def stop(self, request: Request) -> Response:
        self._job(request)
        self.hub.jobs.stop(request.path_params["job"])
        return document({})

    async def job(self, request: Request) -> Response:
        job = self._job(request)
        begin = max(job.dropped, whole(request, "from"))  # of all that was printed; a page has what came before
        told: dict[str, Any] = {"job": job.row(), "text": job.text[begin - job.dropped :], "from": begin}
        told["dropped"] = job.dropped
        if job.result and job.failed is None:
            told["result"] = msgspec.Raw(job.result)
        return document(told)

    async def flame(self, request: Request) -> Response:
        profile = self._profile(request.path_params["job"])
        from pellucid.export.flamegraph import encode

        return flame(await asyncio.to_thread(encode, profile))

    async def compare(self, request: Request) -> Response:
        from pellucid.export.flamegraph import encode_diff

        before, after = (self._profile(request.path_params[name]) for name in ("before", "after"))
        return flame(await asyncio.to_thread(encode_diff, before, after))

    async def download(self, request: Request) -> Response:
        from pellucid.export.profiles import encode

        profile, form = self._profile(request.path_params["job"]), request.path_params["form"]
        if form not in FORMATS:
            raise HTTPException(404)
        name = f"pid-{self._job(request).pid}{FORMATS[form][0]}"
        headers = {"content-disposition": f'attachment; filename="{name}"'}
        return Response(await asyncio.to_thread(encode, profile, form), 200, headers, "application/octet-stream")

    async def file(self, request: Request) -> Response:
        """The snapshot that a look has left."""
        job = self._job(request)
        if not job.row().file:
            raise HTTPException(404, "this snapshot is not kept any more")
        return FileResponse(
            job.file, media_type="application/octet-stream", filename=f"pid-{job.pid}{os.path.splitext(job.file)[1]}"
        )

    async def serving(self, request: Request) -> Response:  # noqa: ARG002
        from pellucid.present.view.serving import servers

        return document(await asyncio.to_thread(servers))

    def _job(self, request: Request) -> Job:
        job = self.hub.jobs.all.get(request.path_params["job"])
        if job is None:
            raise HTTPException(404, "this recording is not kept any more")
        return job

    def _profile(self, name: str) -> Profile:
        job = self.hub.jobs.all.get(name)
        if job is None or job.profile is None:
            raise HTTPException(404, "this recording is not kept any more")
        return job.profile


async def _events(hub: Hub, wanted: Wanted) -> AsyncIterator[bytes]:
    """As the HTML standard, 9.2 (server-sent events), has them; a comment keeps the connection."""
    async for name, value in hub.stream(wanted):
        yield b"event: %s\ndata: %s\n\n" % (name.encode(), encode(value)) if name else b": here\n\n"


def _part(name: str) -> Response:
    """A file of the page; no path, only a name."""
    found = _NAME.fullmatch(name)
    if found is None:
        raise HTTPException(404)
    try:
        content = pkgutil.get_data(PAGE, f"page/{name}")
    except FileNotFoundError:
        raise HTTPException(404) from None
    assert content is not None, f"pellucid is not installed whole: {importlib.import_module(PAGE)} has no page"
    return Response(content, media_type=KINDS[found[1]])
