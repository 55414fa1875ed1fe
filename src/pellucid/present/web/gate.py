"""Who may ask: a browser on this machine that was given the token, and no page of somebody else in it.

    Host       a name that means this machine: a foreign name that resolves to 127.0.0.1 (DNS rebinding) is refused
    token      in the printed address once, then in a cookie for this site alone; or `Authorization: Bearer`, for programs
    origin     what the browser says of who asks (Sec-Fetch-Site, Origin); another port of this machine is another origin
    body       JSON, and small

The token is compared in constant time. Errors say what to do, and nothing of what is running here.
"""

import hmac
import secrets
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any
from urllib.parse import parse_qs

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_BODY = 1 << 16
HOSTS = frozenset({"127.0.0.1", "localhost", "[::1]"})
"""Of any port: `ssh -L` brings the page to another one."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; frame-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    b"content-security-policy": POLICY.encode(),
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",  # the address holds the token until the page has taken it out
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
    b"cache-control": b"no-store",
}
_OPEN = "/page/"
"""The page's own files: the same for everybody, and without them the refusal has no style."""


class Refused(Exception):  # noqa: N818  an answer, told to whoever asked
    """The request is not let in: an HTTP status and a sentence."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(status, said)
        self.status = status
        self.said = said


class Gate:
    """ASGI around `app`. `cookie` is the name of the cookie: cookies do not know ports, so it holds ours."""

    def __init__(self, app: App, token: str, cookie: str) -> None:
        self.app = app
        self.cookie = cookie
        self._token = token.encode()
        self._session = hmac.new(self._token, b"session", "sha256").hexdigest().encode()
        """What the cookie holds: the same for the same token, so that an open page outlives the server behind an admin port."""
        self.post_token = secrets.token_urlsafe(32)
        """Told to the page alone, which sends it with each POST."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return  # a websocket: nothing here speaks it
        headers = {name.lower(): value for name, value in scope["headers"]}
        try:
            more = self._let_in(scope, headers)
            if scope["method"] not in {"GET", "HEAD"}:
                receive = await self._small(headers, receive)
        except Refused as refused:
            await _refuse(send, refused)
            return
        await self.app(scope, receive, _with_headers(send, more))

    def _let_in(self, scope: Scope, headers: dict[bytes, bytes]) -> list[tuple[bytes, bytes]]:
        """Headers to add to the answer. Raises Refused."""
        host = headers.get(b"host", b"").decode("latin-1")
        if not _here(host):
            raise Refused(421, "This address is not one of pellucid's: open the one that it printed.")
        path = scope["path"]
        if path.startswith(_OPEN) and scope["method"] in {"GET", "HEAD"}:
            return []
        if path == "/" and self._same(_token_of(scope["query_string"]), self._token):
            cookie = f"{self.cookie}={self._session.decode()}; Path=/; HttpOnly; SameSite=Strict"
            return [(b"set-cookie", cookie.encode())]
        if self._same(_bearer(headers), self._token):  # a program: no browser adds this by itself
            return []
        if not self._same(_cookie(headers, self.cookie), self._session):
            raise Refused(401, "A token is needed: open the whole address that `pellucid web` printed.")
        site = headers.get(b"sec-fetch-site", b"same-origin")
        if site not in {b"same-origin", b"none"} and path != "/":
            raise Refused(403, "Another page asks for this: only pellucid's own may.")
        if scope["method"] not in {"GET", "HEAD"}:
            self._own_page(host, headers)
        return []

    def _own_page(self, host: str, headers: dict[bytes, bytes]) -> None:
        if headers.get(b"origin", b"").decode("latin-1") != f"http://{host}":
            raise Refused(403, "Another page asks for this: only pellucid's own may.")
        if not self._same(headers.get(b"x-pellucid-token", b""), self.post_token.encode()):
            raise Refused(403, "The page is older than the server: load it again.")

    async def _small(self, headers: dict[bytes, bytes], receive: Receive) -> Receive:
        """The whole body, read here. Raises Refused."""
        if headers.get(b"content-type", b"").partition(b";")[0].strip().lower() != b"application/json":
            raise Refused(415, "The body has to be application/json.")
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > MAX_BODY:
            raise Refused(413, f"The body is larger than {MAX_BODY} bytes.")
        body = b""
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Refused(400, "The body did not arrive.")
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > MAX_BODY:
                raise Refused(413, f"The body is larger than {MAX_BODY} bytes.")
        given = False

        async def again() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        return again

    @staticmethod
    def _same(given: bytes, wanted: bytes) -> bool:
        return secrets.compare_digest(given, wanted)


def _here(host: str) -> bool:
    name, colon, port = host.rpartition(":")
    if not colon or host.endswith("]"):
        name, port = host, ""
    return name.lower() in HOSTS and (not port or port.isdigit())


def _token_of(query: bytes) -> bytes:
    return parse_qs(query.decode("latin-1")).get("token", [""])[0].encode("latin-1", "replace")


def _bearer(headers: dict[bytes, bytes]) -> bytes:
    scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
    return token.strip() if scheme.lower() == b"bearer" else b""


def _cookie(headers: dict[bytes, bytes], wanted: str) -> bytes:
    pairs = (part.strip().partition(b"=") for part in headers.get(b"cookie", b"").split(b";"))
    return next((value for name, _, value in pairs if name == wanted.encode()), b"")


def _with_headers(send: Send, more: Iterable[tuple[bytes, bytes]]) -> Send:
    async def added(message: Message) -> None:
        if message["type"] == "http.response.start":
            given = {name.lower() for name, _ in message.get("headers", ())}
            extra = [(name, value) for name, value in _HEADERS.items() if name not in given]
            message = {**message, "headers": [*message.get("headers", ()), *extra, *more]}
        await send(message)

    return added


async def _refuse(send: Send, refused: Refused) -> None:
    body = (refused.said + "\n").encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(body))]
    wrapped = _with_headers(send, [(b"connection", b"close")])
    await wrapped({"type": "http.response.start", "status": refused.status, "headers": headers})
    await wrapped({"type": "http.response.body", "body": body})
