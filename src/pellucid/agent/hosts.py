"""The agents that this machine knows: a file each, `hosts/NAME.json` in pellucid's home, which only its owner may read.

A host is known by the certificate that it showed when it was added. Whoever answers at that address with another one is not it.
"""

import os
import re
from typing import Final

import msgspec

from pellucid import home
from pellucid.agent.protocol import PORT
from pellucid.model.errors import UsageError, os_words

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


class Host(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An agent: where it listens, the certificate that it is known by (PEM), and the token."""

    name: str
    address: str
    port: int
    certificate: str
    token: str


def known(name: str) -> Host:
    """The host of this name. Raises UsageError, with the names that there are."""
    path, others = _path(name), names()
    try:
        with open(path, "rb") as file:
            return msgspec.json.decode(file.read(1 << 20), type=Host)
    except FileNotFoundError:
        said = f"no host of that name is known here{'; there are ' + ', '.join(others) if others else ''}"
        remedy = f"pellucid agent add {name} ADDRESS:{PORT}"
        raise UsageError(tried=f"ask the host {name}", said=said, remedy=remedy) from None
    except (OSError, msgspec.DecodeError) as error:
        said = os_words(error) if isinstance(error, OSError) else f"its file is not readable: {error}"
        raise UsageError(tried=f"ask the host {name}", said=said, remedy=f"look at {path}") from None


def names() -> list[str]:
    """Those of all hosts, in their order."""
    try:
        return sorted(name.removesuffix(".json") for name in os.listdir(home.hosts()) if name.endswith(".json"))
    except FileNotFoundError:
        return []


def keep(host: Host) -> str:
    """Write it down and return the file's path. Raises UsageError."""
    path = _path(host.name)
    try:
        os.makedirs(home.hosts(), mode=0o700, exist_ok=True)
        home.write_private(path, msgspec.json.format(msgspec.json.encode(host)) + b"\n")
    except OSError as error:
        remedy = "XDG_DATA_HOME=/a/folder/of/yours"
        raise UsageError(tried=f"write {path}", said=os_words(error), remedy=remedy) from None
    return path


def forget(name: str) -> None:
    """Remove the host of this name. Raises UsageError."""
    known(name)
    os.unlink(_path(name))


def _path(name: str) -> str:
    if not NAME.fullmatch(name):
        said = "a name is letters, digits, dots, dashes and underlines, at most 63"
        raise UsageError(tried=f"know a host as {name!r}", said=said, remedy="another name")
    return os.path.join(home.hosts(), f"{name}.json")


def placed(spelled: str) -> tuple[str, int]:
    """(address, port) of `10.0.0.7`, `gpu-07:7707` or `[::1]:7707`. Raises UsageError."""
    address, port = spelled, str(PORT)
    if spelled.startswith("["):
        address, _, behind = spelled[1:].partition("]")
        port = behind.removeprefix(":") or port
    elif spelled.count(":") == 1:
        address, _, port = spelled.partition(":")
    if not address or not port.isdigit() or not 0 <= int(port) <= 65535:
        said = "an address is NAME, NAME:PORT or [IPv6]:PORT"
        raise UsageError(tried=f"understand the address {spelled!r}", said=said, remedy=f"10.0.0.7:{PORT}")
    return address, int(port)
