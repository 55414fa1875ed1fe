"""API keys: a file of hashes, compared in constant time, with an optional limit of requests a second for each.

    # name   SHA-256 of the key                                                  requests a second, all workers together
    billing  9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08    200

A line is made by `pellucid serve --new-key NAME`, which prints the key once. Keys have 192 random bits, so a plain hash of one can't be guessed back.
"""

import hashlib
import hmac
import secrets
import string
from typing import TYPE_CHECKING

from msgspec import Struct

from pellucid.model.errors import UsageError, os_words
from pellucid.serve.slots import MOST_KEYS

if TYPE_CHECKING:
    from pellucid.serve.board import Board
    from pellucid.serve.slots import Slot


class Key(Struct, frozen=True):
    """`rate`: requests a second over all workers, 0 without a limit."""

    name: str
    sha256: str
    rate: int = 0


def new(name: str) -> tuple[str, str]:
    """(a fresh key, the line for the file)."""
    key = secrets.token_urlsafe(24)
    return key, f"{name}  {hashlib.sha256(key.encode()).hexdigest()}"


def read(path: str) -> tuple[Key, ...]:
    """The keys of a file. UsageError names the line that is wrong; a key itself is never repeated."""
    try:
        with open(path, encoding="utf-8") as file:
            lines = file.read().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        said = os_words(error) if isinstance(error, OSError) else "it is not UTF-8"
        raise UsageError(
            tried=f"read the API keys in {path}", said=said, remedy="name a file that may be read"
        ) from error
    keys = []
    for number, line in enumerate(lines, 1):
        fields = line.partition("#")[0].split()
        if fields:
            keys.append(_key(path, number, fields))
    if not keys or len(keys) > MOST_KEYS:
        said = f"it has {len(keys)} keys; 1 to {MOST_KEYS} are possible"
        raise UsageError(
            tried=f"read the API keys in {path}", said=said, remedy="pellucid serve --new-key NAME  (makes one)"
        )
    return tuple(keys)


def _key(path: str, number: int, fields: list[str]) -> Key:
    hashed = fields[1].lower() if len(fields) in {2, 3} else ""
    if (
        len(hashed) != 64
        or not set(hashed) <= set(string.hexdigits)
        or (len(fields) == 3 and not fields[2].isdecimal())
    ):
        raise UsageError(
            tried=f"read the API keys in {path}",
            said=f"line {number} is not NAME, SHA-256 in hex and, if it has a third field, requests a second",
            remedy="pellucid serve --new-key NAME  (prints such a line)",
        )
    return Key(fields[0], hashed, int(fields[2]) if len(fields) == 3 else 0)


class Gate:
    """Lets requests in by their key, and counts them in the slot so that all workers hold one limit together."""

    def __init__(self, keys: tuple[Key, ...], board: "Board", slot: "Slot") -> None:
        self.keys = keys
        self.board = board
        self.slot = slot

    def known(self, given: bytes | None) -> int | None:
        """The number of the key that was given; None where it is none of ours. Takes as long for a wrong one as for a right one."""
        hashed = hashlib.sha256(given or b"").hexdigest()
        found = None
        for number, key in enumerate(self.keys):
            if hmac.compare_digest(key.sha256, hashed):
                found = number
        return found if given else None

    def within_its_rate(self, number: int, now: float) -> bool:
        """Count one request of this key; False where that is more than it may have in this second."""
        rate = self.keys[number].rate
        if not rate:
            return True
        second = int(now)
        if sum(slot.key_uses(number, second) for slot in self.board.slots) >= rate:
            return False
        self.slot.key_used(number, second)
        return True


def given(headers: dict[bytes, bytes]) -> bytes | None:
    """The key of `Authorization: Bearer KEY` or `X-API-Key: KEY`."""
    kind, _, key = headers.get(b"authorization", b"").partition(b" ")
    if kind.lower() == b"bearer" and key.strip():
        return key.strip()
    return headers.get(b"x-api-key")
