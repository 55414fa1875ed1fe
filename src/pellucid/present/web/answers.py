"""What requests are made of and answered with: numbers that are checked, documents, flame graphs, refusals."""

import math
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from pellucid.model.errors import NoSuchProcess, NotPermitted, PellucidError
from pellucid.present.view.told import failed

MAX_PID = 1 << 22
"""PID_MAX_LIMIT of include/linux/threads.h."""
_FLAME_POLICY = "frame-ancestors 'self'; sandbox allow-scripts allow-downloads"
"""Its own <meta> says the rest: scripts by their hash, and no connection to anywhere."""

encode = msgspec.json.Encoder().encode


def checked_pid(number: int) -> int:
    if not 0 < number <= MAX_PID:
        raise HTTPException(404, "there is no such pid")
    return number


def whole(request: Request, name: str) -> int:
    """A number that was given, 0 without one."""
    found = request.query_params.get(name, "")
    return int(found) if found.isascii() and found.isdigit() and len(found) < 16 else 0


def seconds(request: Request, name: str) -> float:
    try:
        found = float(request.query_params.get(name, ""))
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise HTTPException(422, f"{name} has to be a number of seconds")
    return found


def document(value: Any, status: int = 200) -> Response:
    return Response(encode(value), status, media_type="application/json")


def flame(content: bytes) -> Response:
    return Response(content, 200, {"content-security-policy": _FLAME_POLICY}, "text/html; charset=utf-8")


async def refused(request: Request, error: Exception) -> Response:  # noqa: ARG001
    assert isinstance(error, HTTPException)
    return document({"error": {"code": "error", "tried": "", "said": error.detail, "remedy": ""}}, error.status_code)


async def in_three_lines(request: Request, error: Exception) -> Response:  # noqa: ARG001
    assert isinstance(error, PellucidError)
    status = 404 if isinstance(error, NoSuchProcess) else 403 if isinstance(error, NotPermitted) else 409
    return document({"error": failed(error)}, status)
