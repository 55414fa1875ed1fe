"""What a worker answers to GET: probes, health, metrics, incidents, and what is to be known about the model."""

import functools
import time
from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

import pellucid
from pellucid.export.prometheus import CONTENT_TYPE
from pellucid.model.errors import UsageError
from pellucid.serve import docs_page, health, metrics, openapi
from pellucid.serve.app import Service
from pellucid.serve.beside import Unanswered
from pellucid.serve.board import Board
from pellucid.serve.forms.v2 import V2
from pellucid.serve.incidents import Incidents

LISTED = 50

_encode = msgspec.json.Encoder().encode


class Pages:
    """`example`: some records of the stored sample."""

    def __init__(self, service: Service, board: Board, example: list[dict[str, Any]]) -> None:
        self.service = service
        self.board = board
        self.manifest = service.model.manifest
        self.timeout_s = service.options.timeout_s
        self.incidents = Incidents(service.options.incidents)
        self._v2 = V2(service.model)
        self._example = example
        self._named = {"model": self.manifest.name, "version": self.manifest.version}

    @functools.cached_property
    def _description(self) -> dict[str, Any]:
        options = self.service.options
        return openapi.describe(
            self.manifest, self._example, keyed=bool(options.keys), unseen=options.unseen == "count"
        )

    @functools.cached_property
    def _docs(self) -> bytes:
        return docs_page.page(self.manifest, self._example, self._description)

    def application(self) -> Starlette:
        name, version = self.manifest.name, self.manifest.version
        model, exact = f"/v2/models/{name}", f"/v2/models/{name}/versions/{version}"
        return Starlette(
            routes=[
                Route("/", self.docs),
                Route("/docs", self.docs),
                Route("/openapi.json", self.openapi),
                Route("/livez", self.livez),
                Route("/readyz", self.readyz),
                Route("/healthz", self.healthz),
                Route("/metrics", self.metrics),
                Route("/incidents", self.list_incidents),
                Route("/incidents/{name}", self.show_incident),
                *(
                    [Route("/beside", self.beside), Route("/beside/{page}", self.beside_page)]
                    if self.service.other
                    else []
                ),
                Route("/v2", self.server),
                Route("/v2/", self.server),
                Route("/v2/health/live", self.livez),
                Route("/v2/health/ready", self.readyz),
                *(Route(place, self.model) for place in (model, exact)),
                *(Route(f"{place}/ready", self.readyz) for place in (model, exact)),
                Route("/ping", self.readyz),
                Route("/version", self.version),
                *(Route(path, _elsewhere, methods=["POST"]) for path in self.service.forms),
            ],
            exception_handlers={HTTPException: _refused},
        )

    async def docs(self, request: Request) -> Response:  # noqa: ARG002
        headers = {"content-security-policy": docs_page.CONTENT_SECURITY}
        return Response(self._docs, headers=headers, media_type="text/html; charset=utf-8")

    async def openapi(self, request: Request) -> Response:  # noqa: ARG002
        return _json(200, self._description)

    async def livez(self, request: Request) -> Response:  # noqa: ARG002
        return Response(b"ok\n", media_type="text/plain")

    async def readyz(self, request: Request) -> Response:  # noqa: ARG002
        ready, living = health.ready(self.board, self.timeout_s)
        told = f"{ready} of {living} workers {health.does(sampled=bool(self.manifest.sample_rows))} in the last seconds"
        return _json(200 if ready else 503, {"ready": bool(ready), "detail": told, **self._named})

    async def healthz(self, request: Request) -> Response:  # noqa: ARG002
        named, sampled = self.manifest, bool(self.manifest.sample_rows)
        found = health.health(self.board, named.name, named.version, self.timeout_s, sampled=sampled)
        return _json(503 if found.status == "down" else 200, found)

    async def metrics(self, request: Request) -> Response:  # noqa: ARG002
        page = metrics.text(self.board, self.manifest, self.timeout_s)
        return Response(page, headers={"content-type": CONTENT_TYPE})

    async def list_incidents(self, request: Request) -> Response:  # noqa: ARG002
        rows, gaps = self.incidents.newest(LISTED)
        return _json(200, {"schema": 1, "process": None, "taken_at": time.time(), "gaps": gaps, "incidents": rows})

    async def show_incident(self, request: Request) -> Response:
        try:
            return _json(200, self.incidents.load(request.path_params["name"]))
        except UsageError as error:
            return _json(404, {"detail": error.said})

    async def beside(self, request: Request) -> Response:  # noqa: ARG002
        """How the other version does beside this one; the differences are those that this worker saw last."""
        assert self.service.other is not None
        beside = self.service.other.beside
        counts = [slot.beside_counts() for slot in self.board.slots]
        sent, failed, different = (sum(column) for column in zip(*counts, strict=True))
        told = {
            "kind": beside.kind, "model": beside.model, "share": beside.share, "sent": sent, "failed": failed, "different": different,
            "last_differences": list(self.service.other.differences),
        }  # fmt: skip
        return _json(200, told)

    async def beside_page(self, request: Request) -> Response:
        """`/beside/healthz`, `/beside/metrics`, ...: the other version's own pages."""
        assert self.service.other is not None
        try:
            reply = await self.service.other.get(f"/{request.path_params['page']}", self.timeout_s)
        except Unanswered:
            return _json(503, {"detail": f"{self.service.other.beside.model} does not answer"})
        return Response(reply.body, reply.status, {"content-type": reply.headers.get("content-type", "text/plain")})

    async def server(self, request: Request) -> Response:  # noqa: ARG002
        return _json(200, {"name": "pellucid", "version": pellucid.__version__, "extensions": []})

    async def model(self, request: Request) -> Response:  # noqa: ARG002
        return _json(200, self._v2.metadata())

    async def version(self, request: Request) -> Response:  # noqa: ARG002
        return Response(f"pellucid {pellucid.__version__}\n", media_type="text/plain")


async def _elsewhere(request: Request) -> Response:  # noqa: ARG001
    """Never called, for POST is answered before: it makes GET there a 405 that names POST."""
    raise HTTPException(500)


def _json(status: int, body: Any, headers: Mapping[str, str] | None = None) -> Response:
    return Response(_encode(body), status, headers, media_type="application/json")


async def _refused(request: Request, error: Exception) -> Response:
    """404 and 405 as JSON, in the form of the protocol that was asked."""
    assert isinstance(error, HTTPException)
    key = "error" if request.url.path.startswith("/v2/") else "detail"
    return _json(error.status_code, {key: f"{error.detail}: {request.method} {request.url.path}"}, error.headers)
