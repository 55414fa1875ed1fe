"""What the supervisor and the template say to each other: one message a packet of a SOCK_SEQPACKET pair, JSON inside."""

import socket

import msgspec
from msgspec import Struct

from pellucid.serve.events import Fork, Trouble
from pellucid.serve.options import Options

_MOST = 1 << 16


class Begin(Struct, frozen=True, tag=True):
    """The first message to the template."""

    options: Options


class Loaded(Struct, frozen=True, tag=True):
    """The template can fork; `note` is something to tell, such as other library versions than at the training; `how`
    says by which engine it predicts, and whether several requests together.
    """

    note: str = ""
    how: str = ""


class Refused(Struct, frozen=True, tag=True):
    """The template can't serve this model and ends."""

    trouble: Trouble


class Born(Struct, frozen=True, tag=True):
    """A worker was forked, and is the supervisor's child by now."""

    slot: int
    generation: int
    pid: int


class Unborn(Struct, frozen=True, tag=True):
    """fork(2) failed."""

    slot: int
    generation: int
    said: str


ToTemplate = Begin | Fork
FromTemplate = Loaded | Refused | Born | Unborn

_to_template = msgspec.json.Decoder(ToTemplate)
_from_template = msgspec.json.Decoder(FromTemplate)


def pair() -> tuple[socket.socket, socket.socket]:
    """(the supervisor's end, the template's end); closed at exec unless inherited on purpose."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def send(end: socket.socket, message: ToTemplate | FromTemplate) -> None:
    """One packet. OSError when the other end is gone or does not read."""
    end.send(msgspec.json.encode(message))


def order(end: socket.socket) -> ToTemplate | None:
    """The next message to the template; None when the supervisor is gone."""
    packet = end.recv(_MOST)
    return _to_template.decode(packet) if packet else None


def report(end: socket.socket) -> FromTemplate | None:
    """The next message of the template; None when it is gone. BlockingIOError when there is none yet."""
    packet = end.recv(_MOST, socket.MSG_DONTWAIT)
    return _from_template.decode(packet) if packet else None
