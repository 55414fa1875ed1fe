"""What an agent and its client say to one another, inside of TLS: frames, and the proof that the client knows the token.

A frame is its kind (1 byte), the length of what follows (4 bytes, big end first) and at most `MOST` bytes. The agent begins:

    agent → client   HELLO     `Hello`: the protocol, and a nonce that it has never used before
    client → agent   ASK       `Ask`: the words of a command line, and the proof
    agent → client   OUT, ERR  what the command prints, as it comes; FILE and DATA: the file that it wrote for -o
    client → agent   STOP      Ctrl-C was pressed: the command ends as it would here
    agent → client   END       `End`: the exit status; or REFUSED: `Refusal`, the three lines of an error

The proof is HMAC-SHA256 (RFC 2104) under the token over the nonce, the certificate of the agent and the words. So the token itself is never
sent, a request that was recorded is worth nothing for the next nonce, and a proof made for one agent none for another.
"""

import hmac
from hashlib import sha256
from typing import Final

import msgspec

from pellucid.model.errors import PellucidError

VERSION: Final = 1
MOST: Final = 1 << 16
"""Bytes in a frame. The words of a command line are far shorter; output comes in pieces."""
HEAD: Final = 5
NONCE_BYTES: Final = 32
PORT: Final = 7707

HELLO, ASK, OUT, ERR, FILE, DATA, STOP, END, REFUSED = b"HAOEFDSXR"
KINDS: Final = frozenset(b"HAOEFDSXR")


class Hello(msgspec.Struct, frozen=True):
    """The first words of the agent."""

    protocol: int
    version: str
    nonce: bytes


class Ask(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A command line without `pellucid`, and how wide and colourful the client's terminal is."""

    words: tuple[str, ...]
    proof: bytes
    columns: int = 0
    coloured: bool = False


class End(msgspec.Struct, frozen=True):
    """The command has ended with `status`."""

    status: int


class Refusal(msgspec.Struct, frozen=True):
    """Why the command was not run: the lines of an error, and its exit status."""

    code: str
    status: int
    tried: str
    said: str
    remedy: str


class AgentError(PellucidError):
    """The agent could not be reached, is not the one that is known, or does not speak as agreed."""

    code = "agent_unreachable"
    exit_status = 7


class Refused(PellucidError):  # noqa: N818  as those of model.errors
    """What the agent answered instead of running the command; code and status are the agent's."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(tried=refusal.tried, said=refusal.said, remedy=refusal.remedy)
        # Of this one answer, not of the class.
        self.__dict__.update(code=refusal.code, exit_status=refusal.status)


class BadFrame(Exception):  # noqa: N818  it is told as what it is
    """The other end does not speak as agreed."""


def frame(kind: int, content: bytes = b"") -> bytes:
    """The bytes of a frame. `content` is at most `MOST` long."""
    if len(content) > MOST:
        raise ValueError(len(content))
    return bytes((kind,)) + len(content).to_bytes(4, "big") + content


def head(content: bytes) -> tuple[int, int]:
    """(kind, length) of the frame that begins with these `HEAD` bytes. Raises BadFrame."""
    kind, length = content[0], int.from_bytes(content[1:HEAD], "big")
    if kind not in KINDS:
        raise BadFrame(f"a frame of the unknown kind {kind}")
    if length > MOST:
        raise BadFrame(f"a frame of {length} bytes, where {MOST} are the most")
    return kind, length


def proof(token: str, nonce: bytes, certificate: bytes, words: tuple[str, ...]) -> bytes:
    """What only someone who knows `token` can say to this agent (`certificate`: DER) at this `nonce` about these words."""
    said = hmac.new(token.encode(), nonce, sha256)
    said.update(sha256(certificate).digest())
    for word in words:
        content = word.encode("utf-8", "surrogateescape")
        said.update(len(content).to_bytes(4, "big") + content)
    return said.digest()


def proved(token: str, nonce: bytes, certificate: bytes, ask: Ask) -> bool:
    """Whether `ask` was made by someone who knows `token`; takes as long for a wrong proof as for a right one."""
    return hmac.compare_digest(proof(token, nonce, certificate, ask.words), ask.proof)


def encode(value: Hello | Ask | End | Refusal) -> bytes:
    """As JSON."""
    return msgspec.json.encode(value)
