"""The agent: waits for clients, and runs for each the one command that it asks for, if `policy` allows it, as a process of its own.

A client has five seconds for TLS and ten for its question, and there is a bound on how many are answered at a time (`Limits`). What a command
prints is passed on as it comes; a client that takes nothing for half a minute, or leaves, ends its command. Nothing is kept between two questions.
"""

import asyncio
import os
import secrets
import shutil
import signal
import ssl
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from typing import Final

import click
import msgspec

from pellucid import __version__
from pellucid.agent import protocol
from pellucid.agent.identity import Identity
from pellucid.agent.policy import Plan, planned
from pellucid.agent.protocol import Ask, BadFrame, End, Hello, Refusal, encode, frame
from pellucid.inert import inert
from pellucid.model.errors import PellucidError, UsageError, os_words

MOST_FILE: Final = 4 << 30


class Limits(msgspec.Struct, frozen=True):
    """How long, in seconds, and how many at a time."""

    clients: int = 16
    tls_s: float = 5.0
    question_s: float = 10.0
    slow_s: float = 30.0
    """A client that takes nothing of what is sent."""
    ending_s: float = 5.0
    """A command that was told to end."""
    wrong_s: float = 1.0
    """So long the answer to a wrong proof takes: guessing is slow."""


USUAL: Final = Limits()


class Agent:
    """One agent. `log` gets a line for each question and each refusal; `commands` are those of the command line, by name."""

    def __init__(
        self,
        identity: Identity,
        token: str,
        scopes: frozenset[str],
        commands: Mapping[str, click.Command],
        log: Callable[[str], None],
        limits: Limits = USUAL,
    ) -> None:
        self.identity = identity
        self.limits = limits
        self.scopes = scopes
        self._token = token
        self._commands = commands
        self._log = log
        self.answering = 0
        """So many clients."""
        self._running: set[asyncio.subprocess.Process] = set()

    async def serve(self, address: str, port: int, ready: Callable[[str, int], None]) -> None:
        """Listen until SIGINT or SIGTERM; `ready` is told the address and the port. Raises UsageError: can't listen there."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(self.identity.certificate, self.identity.key)
        try:
            server = await asyncio.start_server(
                self._client,
                address,
                port,
                ssl=context,
                ssl_handshake_timeout=self.limits.tls_s,
                limit=2 * protocol.MOST,
            )
        except OSError as error:
            said = os_words(error) if error.errno else str(error)
            remedy = "pellucid agent --listen ADDRESS:PORT, of this machine and free"
            raise UsageError(tried=f"listen on {address} port {port}", said=said, remedy=remedy) from None
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        # A failed handshake (a scanner, a client without TLS) is no event of ours: asyncio would print a traceback for it.
        loop.set_exception_handler(lambda _, context: self._broken(context))
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, ended.set)
        async with server:
            ready(*server.sockets[0].getsockname()[:2])
            await ended.wait()
        for process in self._running:
            _signal(process, signal.SIGINT)

    def _broken(self, context: dict[str, object]) -> None:
        error = context.get("exception")
        if not isinstance(error, OSError):
            self._log(f"an error inside the agent: {context.get('message')}: {error!r}")

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = _spelled(writer.get_extra_info("peername"))
        self.answering += 1
        try:
            if self.answering > self.limits.clients:
                said = f"{self.limits.clients} clients are being answered already"
                await self._refuse(
                    writer, UsageError(tried="ask the agent", said=said, remedy="once more, a little later")
                )
            else:
                await self._answer(reader, writer, peer)
        except (BadFrame, msgspec.DecodeError) as error:
            self._log(f"{peer} does not speak as agreed: {error}")
        except (OSError, EOFError, TimeoutError) as error:
            self._log(f"{peer} has left or was too slow: {type(error).__name__}")
        finally:
            self.answering -= 1
            writer.transport.abort() if writer.transport.get_write_buffer_size() else writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peer: str) -> None:
        nonce = secrets.token_bytes(protocol.NONCE_BYTES)
        writer.write(frame(protocol.HELLO, encode(Hello(protocol.VERSION, __version__, nonce))))
        async with asyncio.timeout(self.limits.question_s):
            await writer.drain()
            kind, content = await _frame(reader)
        if kind != protocol.ASK:
            raise BadFrame("the first frame is no question")
        ask = msgspec.json.decode(content, type=Ask)
        if not protocol.proved(self._token, nonce, self.identity.content, ask):
            self._log(f"{peer} was refused: it does not know the token")
            await asyncio.sleep(self.limits.wrong_s)
            said = "the agent has another token, or the question was made for another moment"
            await self._refuse(
                writer, _NotAllowed(tried="ask the agent", said=said, remedy="pellucid agent add, with its token")
            )
            return
        try:
            plan = planned(ask.words, self.scopes, self._commands)
        except UsageError as error:
            self._log(f"{peer} was refused: {_line(ask.words)}: {error.said}")
            await self._refuse(writer, error)
            return
        await self._run(plan, ask, reader, writer, peer)

    async def _run(
        self, plan: Plan, ask: Ask, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peer: str
    ) -> None:
        began = time.monotonic()
        folder = tempfile.mkdtemp(prefix="pellucid-agent-")
        try:
            path = os.path.join(folder, os.path.basename(plan.written) or "file")
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-m", "pellucid.agent.started", str(os.getpid()), *plan.line(path)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                cwd="/",
                env=_environment(ask),
                start_new_session=True,
            )
            self._running.add(process)
            try:
                status = await self._passed_on(process, folder, reader, writer)
            finally:
                self._running.discard(process)
                await _ended(process, self.limits.ending_s)
            if plan.written:
                await self._send_file(writer, path)
            await self._send(writer, protocol.END, encode(End(status)))
            self._log(f"{peer} asked: {_line(ask.words)}: status {status} after {time.monotonic() - began:.1f} s")
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    async def _passed_on(
        self,
        process: asyncio.subprocess.Process,
        folder: str,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> int:
        """The exit status, when all that was printed has been sent."""
        assert process.stdout is not None
        assert process.stderr is not None
        client = asyncio.create_task(self._stops(process, reader))
        try:
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(self._pump(process.stdout, writer, protocol.OUT, folder))
                pumps.create_task(self._pump(process.stderr, writer, protocol.ERR, folder))
            return _status(await process.wait())
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        finally:
            client.cancel()

    async def _pump(self, source: asyncio.StreamReader, writer: asyncio.StreamWriter, kind: int, folder: str) -> None:
        ours = folder.encode() + b"/"  # where the file is written here is nothing to the client
        while content := await source.read(protocol.MOST):
            await self._send(writer, kind, content.replace(ours, b""))

    async def _stops(self, process: asyncio.subprocess.Process, reader: asyncio.StreamReader) -> None:
        """Ctrl-C at the client's is one here; a client that has left is one too, and the end a little later."""
        try:
            while True:
                kind, _ = await _frame(reader)
                if kind == protocol.STOP:
                    _signal(process, signal.SIGINT)
        except (OSError, EOFError, BadFrame):
            _signal(process, signal.SIGINT)
            await asyncio.sleep(self.limits.ending_s)
            _signal(process, signal.SIGKILL)

    async def _send_file(self, writer: asyncio.StreamWriter, path: str) -> None:
        """The file that the command wrote, if it wrote one."""
        size = await asyncio.to_thread(_size, path)
        if size is None:
            return
        if size > MOST_FILE:
            said = f"pellucid: the file has {size} bytes, and {MOST_FILE} are the most that is sent\n"
            await self._send(writer, protocol.ERR, said.encode())
            return
        await self._send(writer, protocol.FILE, msgspec.json.encode(size))
        with await asyncio.to_thread(open, path, "rb") as file:
            while content := await asyncio.to_thread(file.read, protocol.MOST):
                await self._send(writer, protocol.DATA, content)

    async def _refuse(self, writer: asyncio.StreamWriter, error: PellucidError) -> None:
        told = Refusal(error.code, error.exit_status, error.tried, error.said, error.remedy)
        await self._send(writer, protocol.REFUSED, encode(told))

    async def _send(self, writer: asyncio.StreamWriter, kind: int, content: bytes) -> None:
        """Raises TimeoutError where the client takes nothing."""
        writer.write(frame(kind, content))
        async with asyncio.timeout(self.limits.slow_s):
            await writer.drain()


async def _frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    kind, length = protocol.head(await reader.readexactly(protocol.HEAD))
    return kind, await reader.readexactly(length)


async def _ended(process: asyncio.subprocess.Process, seconds: float) -> None:
    """Make sure of it: Ctrl-C first, so that what it made in the kernel is taken away, and after `seconds` the end.

    What it still prints is thrown away: asyncio does not see the end of a process whose pipes nobody reads (base_subprocess.py, 3.11 to 3.14).
    """
    for number in (signal.SIGINT, signal.SIGKILL):
        if process.returncode is None:
            _signal(process, number)
        try:
            async with asyncio.timeout(seconds):
                await asyncio.gather(process.wait(), _discarded(process.stdout), _discarded(process.stderr))
        except TimeoutError:
            continue
        return


async def _discarded(source: asyncio.StreamReader | None) -> None:
    while source is not None and await source.read(protocol.MOST):
        pass


def _signal(process: asyncio.subprocess.Process, number: int) -> None:
    """To the command; SIGKILL also to what it has started."""
    try:
        if number == signal.SIGKILL:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
    except ProcessLookupError:
        return


def _size(path: str) -> int | None:
    return os.path.getsize(path) if os.path.exists(path) else None


class _NotAllowed(PellucidError):  # noqa: N818  as those of model.errors
    code = "not_permitted"
    exit_status = 4


def _environment(ask: Ask) -> dict[str, str]:
    """What pellucid needs of ours, and the client's terminal."""
    kept = {
        name: os.environ[name] for name in ("PATH", "HOME", "XDG_DATA_HOME", "LANG", "LC_ALL") if name in os.environ
    }
    kept["COLUMNS"] = str(ask.columns or 80)
    kept["FORCE_COLOR" if ask.coloured else "NO_COLOR"] = "1"
    return kept


def _status(code: int) -> int:
    return code if code >= 0 else 128 - code


def _spelled(peer: tuple[object, ...] | None) -> str:
    return f"{peer[0]} port {peer[1]}" if peer else "a client"


def _line(words: tuple[str, ...]) -> str:
    return inert(" ".join(words)[:200])
