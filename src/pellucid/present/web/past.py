"""What the page asks of the past: GET /api/p/PID/history, and /api/past/FILE/KEY, /kept and /flame for a moment of a recording."""

import asyncio
from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pellucid.present.web.answers import checked_pid, document, seconds
from pellucid.present.web.answers import flame as flame_graph


async def history(request: Request) -> Response:
    from pellucid.present.view import history as recorded

    return document(await asyncio.to_thread(recorded.history, checked_pid(request.path_params["pid"])))


async def moment(request: Request) -> Response:
    from pellucid.present.view import history as recorded

    return await _answer(request, recorded.moment)


async def kept(request: Request) -> Response:
    from pellucid.present.view import history as recorded

    return await _answer(request, recorded.kept)


async def _answer(request: Request, make: Callable[[str, int, float], Any]) -> Response:
    told = request.path_params
    return document(await asyncio.to_thread(make, told["file"], told["key"], seconds(request, "at")))


async def flame(request: Request) -> Response:
    from pellucid.export.flamegraph import encode
    from pellucid.present.view import history as recorded

    told, span = request.path_params, (seconds(request, "begin"), seconds(request, "end"))
    profile = await asyncio.to_thread(recorded.profile, told["file"], told["key"], *span)
    return flame_graph(await asyncio.to_thread(encode, profile))


ROUTES = (
    Route("/api/p/{pid:int}/history", history),
    Route("/api/past/{file}/{key:int}", moment),
    Route("/api/past/{file}/{key:int}/kept", kept),
    Route("/api/past/{file}/{key:int}/flame", flame),
)
