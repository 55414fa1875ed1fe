"""One command on another machine: asks the agent there, prints what it prints, and ends as it ends."""

import os
import shutil
import signal
import socket
import ssl
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO, Final, Self

import msgspec

from pellucid.agent import hosts, protocol
from pellucid.agent.hosts import Host
from pellucid.agent.protocol import AgentError, Ask, BadFrame, End, Hello, Refusal, Refused, encode, frame
from pellucid.model.errors import UsageError, os_words
from pellucid.terminal import coloured

CONNECT_S, ANSWER_S = 5.0, 15.0
_KEEPALIVE: Final = ((socket.TCP_KEEPIDLE, 10), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 4))
"""A machine that is gone is noticed after half a minute (tcp(7))."""
_STRICT: Final = getattr(ssl, "VERIFY_X509_STRICT", 0)
_AT_THE_LEAF: Final = getattr(ssl, "VERIFY_X509_PARTIAL_CHAIN", 0)


def run(name: str, words: Sequence[str]) -> int:
    """Run `pellucid WORDS` on the host `name`; returns its exit status. Raises UsageError, AgentError and what the agent refused with."""
    host = hosts.known(name)
    words, place, force = _kept_here(words)
    if place and os.path.lexists(place) and not force:
        raise UsageError(
            tried=f"write {place}", said="it is there already", remedy=f"-o {place} --force  (overwrites it)"
        )
    with connected(host) as connection:
        return _asked(host, connection, tuple(words), place)


def _kept_here(words: Sequence[str]) -> tuple[list[str], str, bool]:
    """(the words for the agent, the file of ours that -o or --save names, whether it may be overwritten): the agent gets its name without folders."""
    sent, place = list(words), ""
    for at, word in enumerate(sent):
        option, _, value = word.partition("=")
        if option not in ("-o", "--output", "--save"):
            continue
        if value:
            place, sent[at] = value, f"{option}={os.path.basename(value)}"
        elif at + 1 < len(sent):
            place, sent[at + 1] = sent[at + 1], os.path.basename(sent[at + 1])
        break
    return sent, place, "--force" in sent


@contextmanager
def connected(host: Host) -> Iterator[ssl.SSLSocket]:
    """A connection to the agent of `host`, which has shown the certificate that it is known by. Raises AgentError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False  # it is known by its certificate, wherever it is
    context.verify_flags = (context.verify_flags & ~_STRICT) | _AT_THE_LEAF
    try:
        context.load_verify_locations(cadata=host.certificate)
        with _plain(host.address, host.port) as plain, context.wrap_socket(plain) as connection:
            yield connection
    except ssl.SSLCertVerificationError as error:
        raise _unknown(host, error) from None
    except (OSError, EOFError, BadFrame, msgspec.DecodeError) as error:
        raise _unreachable(f"ask {host.name} ({host.address} port {host.port})", error) from None


@contextmanager
def _plain(address: str, port: int) -> Iterator[socket.socket]:
    with socket.create_connection((address, port), CONNECT_S) as plain:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEPALIVE:
            plain.setsockopt(socket.IPPROTO_TCP, option, value)
        plain.settimeout(ANSWER_S)
        yield plain


def shown(address: str, port: int) -> bytes:
    """The certificate (DER) that whoever listens there shows; nothing about it has been proved. Raises AgentError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with _plain(address, port) as plain, context.wrap_socket(plain) as connection:
            certificate = connection.getpeercert(binary_form=True)
    except OSError as error:
        raise _unreachable(f"reach an agent at {address} port {port}", error) from None
    assert certificate
    return certificate


def checked(host: Host) -> None:
    """Ask the agent for the least there is, which shows that it knows the token. Raises AgentError, Refused."""
    with connected(host) as connection:
        _question(host, connection, ("check", "--json"))
        while True:
            kind, content = _frame(connection)
            if kind == protocol.REFUSED:
                raise Refused(msgspec.json.decode(content, type=Refusal))
            if kind in (protocol.OUT, protocol.END):
                return


def _question(host: Host, connection: ssl.SSLSocket, words: tuple[str, ...]) -> None:
    kind, content = _frame(connection)
    if kind == protocol.REFUSED:
        raise Refused(msgspec.json.decode(content, type=Refusal))
    hello = msgspec.json.decode(content, type=Hello)
    if kind != protocol.HELLO or hello.protocol != protocol.VERSION:
        said = f"it is pellucid {hello.version}, which speaks version {hello.protocol} of the protocol; here it is {protocol.VERSION}"
        raise AgentError(tried=f"ask {host.name}", said=said, remedy="the same version of pellucid on both machines")
    certificate = connection.getpeercert(binary_form=True)
    assert certificate
    proof = protocol.proof(host.token, hello.nonce, certificate, words)
    columns = shutil.get_terminal_size().columns
    connection.sendall(frame(protocol.ASK, encode(Ask(words, proof, columns, coloured()))))


def _asked(host: Host, connection: ssl.SSLSocket, words: tuple[str, ...], place: str) -> int:
    _question(host, connection, words)
    connection.settimeout(
        None
    )  # a command may be silent for as long as it likes; keepalive notices when the machine is gone
    with _interruptions(connection), _Arriving(place) as arriving:
        while True:
            kind, content = _frame(connection)
            match kind:
                case protocol.OUT:
                    sys.stdout.buffer.write(content)
                    sys.stdout.buffer.flush()
                case protocol.ERR:
                    sys.stderr.buffer.write(content)
                    sys.stderr.buffer.flush()
                case protocol.FILE:
                    arriving.begin(msgspec.json.decode(content, type=int))
                case protocol.DATA:
                    arriving.write(content)
                case protocol.END:
                    arriving.end()
                    return msgspec.json.decode(content, type=End).status
                case protocol.REFUSED:
                    raise Refused(msgspec.json.decode(content, type=Refusal))
                case _:
                    raise BadFrame(f"a frame of kind {kind} that is not for a client")


class _Arriving:
    """The file that the command wrote; it gets its name when all of it is there."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._file: BinaryIO | None = None
        self._passing = ""
        self._left = 0

    def begin(self, size: int) -> None:
        if not self._place:
            raise BadFrame("a file that was not asked for")
        folder, name = os.path.split(self._place)
        try:
            descriptor, self._passing = tempfile.mkstemp(dir=folder or ".", prefix=f".{name}.")
            self._file = open(descriptor, "wb")  # noqa: SIM115  closed by end or exit
        except OSError as error:
            raise self._failed(error) from None
        self._left = size

    def write(self, content: bytes) -> None:
        if self._file is None or len(content) > self._left:
            raise BadFrame("more of a file than was said")
        self._left -= len(content)
        try:
            self._file.write(content)
        except OSError as error:
            raise self._failed(error) from None

    def end(self) -> None:
        if self._file is None:
            return
        if self._left:
            raise BadFrame(f"a file that lacks {self._left} bytes")
        try:
            self._file.close()
            os.chmod(self._passing, 0o644)
            os.replace(self._passing, self._place)
        except OSError as error:
            raise self._failed(error) from None
        self._file = None

    def _failed(self, error: OSError) -> UsageError:
        return UsageError(
            tried=f"write {self._place}", said=os_words(error), remedy="-o FILE, in a directory of yours with room"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()
            os.unlink(self._passing)


@contextmanager
def _interruptions(connection: ssl.SSLSocket) -> Iterator[None]:
    """Ctrl-C goes to the command over there, which ends and still prints its report; the second one ends us."""
    pressed = 0

    def stop(*_: object) -> None:
        nonlocal pressed
        pressed += 1
        if pressed > 1:
            raise KeyboardInterrupt
        connection.sendall(frame(protocol.STOP))

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _frame(connection: ssl.SSLSocket) -> tuple[int, bytes]:
    kind, length = protocol.head(_exactly(connection, protocol.HEAD))
    return kind, _exactly(connection, length)


def _exactly(connection: ssl.SSLSocket, size: int) -> bytes:
    content = bytearray()
    while len(content) < size:
        part = connection.recv(size - len(content))
        if not part:
            raise EOFError("the agent ended the connection")
        content += part
    return bytes(content)


def _unknown(host: Host, error: ssl.SSLCertVerificationError) -> AgentError:
    tried = f"ask {host.name} ({host.address} port {host.port})"
    again = f"pellucid agent add {host.name} {host.address}:{host.port}"
    if error.verify_code == _EXPIRED:
        said = "its certificate has expired, or the clock here is ahead"
        return AgentError(tried=tried, said=said, remedy=f"there: pellucid agent --renew; then here: {again}")
    if error.verify_code == _NOT_YET:
        said = "its certificate holds only from later on: the clocks of the two machines differ"
        return AgentError(tried=tried, said=said, remedy="date -u  (on both)")
    said = f"it shows another certificate than the one that is known of it ({error.verify_message}): it was renewed, or it is someone else"
    return AgentError(tried=tried, said=said, remedy=f"compare the fingerprint that the agent printed; then: {again}")


_EXPIRED: Final = 10
"""X509_V_ERR_CERT_HAS_EXPIRED (openssl/x509_vfy.h)."""
_NOT_YET: Final = 9
"""X509_V_ERR_CERT_NOT_YET_VALID."""


def _unreachable(tried: str, error: Exception) -> AgentError:
    if isinstance(error, TimeoutError):
        said = "there was no answer in time"
    elif isinstance(error, EOFError):
        said = "it ended the connection before its answer was whole"
    elif isinstance(error, ssl.SSLError):
        said = f"it does not speak TLS as an agent does ({error.reason or error})"
    elif isinstance(error, OSError):
        said = os_words(error) if error.errno and error.errno > 0 else str(error.strerror or error)
    else:
        said = f"what it sends is not what an agent sends: {error}"
    return AgentError(
        tried=tried,
        said=said,
        remedy="there: pellucid agent --listen ADDRESS:PORT; and a way through the firewalls between",
    )
