"""The head of a request: it is bounded in bytes and in time, and what is refused is told in JSON."""

import asyncio
import time
from types import SimpleNamespace

import pytest
import uvicorn
from uvicorn.server import ServerState

from pellucid.serve.connection import HEAD_S, MOST_HEAD, Connection

REST = HEAD_S + 1


async def application(scope, receive, send):
    await receive()
    if scope["path"] == "/slow":
        await asyncio.sleep(0.2)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


async def exchanged(talk):
    """What `talk(reader, writer, connection)` returns, with a connection to a server of one's own."""
    config = uvicorn.Config(application, http="httptools", log_config=None, access_log=False, lifespan="off")
    config.load()
    made = []

    def connection():
        server = SimpleNamespace(
            config=config, server_state=ServerState(), lifespan=SimpleNamespace(state={}),
            slot=SimpleNamespace(connections=lambda change: None), service=SimpleNamespace(direct_forms={}),
        )  # fmt: skip
        made.append(Connection(server))
        return made[-1]

    listening = await asyncio.get_running_loop().create_server(connection, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*listening.sockets[0].getsockname())
    while not made:  # noqa: ASYNC110  it tells nobody
        await asyncio.sleep(0.001)
    try:
        return await asyncio.wait_for(talk(reader, writer, made[0]), 30)
    finally:
        writer.close()
        listening.close()


async def until(condition):
    while not condition():  # noqa: ASYNC110  it tells nobody
        await asyncio.sleep(0.001)


async def unending(reader, writer, connection):
    writer.write(b"GET /livez HTTP/1.1\r\nx: " + b"a" * (MOST_HEAD - 1000))
    await until(lambda: connection._head > MOST_HEAD - 1000)
    assert not connection.transport.is_closing()
    writer.write(b"a" * 2000)
    return await reader.read()


async def nothing(reader, writer, connection):
    connection.cut_off_slow(time.monotonic() + HEAD_S - 1)
    assert not connection.transport.is_closing()
    connection.cut_off_slow(time.monotonic() + REST)
    return await reader.read()


async def half_of_the_second(reader, writer, connection):
    writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")
    connection.cut_off_slow(time.monotonic() + REST)
    assert not connection.transport.is_closing(), "it rests between two requests"
    writer.write(b"GET / HT")
    await until(lambda: connection._head)
    connection.cut_off_slow(time.monotonic() + REST)
    return await reader.read()


@pytest.mark.parametrize(
    ("talk", "status", "told"),
    [
        (unending, b"431", b"larger than 65536 bytes"),
        (nothing, b"408", b"did not arrive whole within 30 s"),
        (half_of_the_second, b"408", b"did not arrive whole within 30 s"),
    ],
)
def test_a_head_that_does_not_end_is_refused(talk, status, told):
    answer = asyncio.run(exchanged(talk))
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert b"application/json" in answer
    assert told in answer


def test_headers_that_follow_the_body_are_bounded_too():
    async def talk(reader, writer, connection):
        writer.write(b"POST /slow HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx: ")
        await until(lambda: connection.cycle is not None)
        writer.write(b"a" * (MOST_HEAD + 1000))
        assert await reader.read() == b""
        return connection.transport.is_closing()

    assert asyncio.run(exchanged(talk))


def test_a_long_body_in_chunks_is_no_long_head():
    async def talk(reader, writer, connection):
        writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        for _ in range(8):
            writer.write(b"8000\r\n")
            await writer.drain()
            await asyncio.sleep(0)
            writer.write(b"x" * 0x8000 + b"\r\n")
            await writer.drain()
        writer.write(b"0\r\nx: y\r\n\r\n")
        return await reader.readuntil(b"ok")

    assert asyncio.run(exchanged(talk)).startswith(b"HTTP/1.1 200")


def test_a_slow_answer_is_no_slow_request():
    async def talk(reader, writer, connection):
        writer.write(b"GET /slow HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        await until(lambda: connection.cycle is not None)
        connection.cut_off_slow(time.monotonic() + REST)
        return await reader.read()

    assert asyncio.run(exchanged(talk)).startswith(b"HTTP/1.1 200")


def test_many_short_requests_and_a_long_body_are_no_long_head():
    async def talk(reader, writer, connection):
        one = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n"
        for length in (0, 3 * MOST_HEAD, 0):
            writer.write(one % length + b"x" * length)
            assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n" * 1000)
        for _ in range(1000):
            assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")
        return connection._head

    assert asyncio.run(exchanged(talk)) == 0
