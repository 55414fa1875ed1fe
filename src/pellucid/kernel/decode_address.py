"""A struct sockaddr as text: `127.0.0.1:5432`, `[::1]:80`, `/run/x.sock`, `@abstract`."""

import os
from _socket import inet_ntop

_UNIX, _INET, _INET6, _NETLINK, _UNSPECIFIED = 1, 2, 10, 16, 0
_FAMILIES = {_NETLINK: "netlink", 17: "packet", 38: "alg", 40: "vsock"}


def address(raw: bytes, length: int | None = None) -> str | None:
    """The address in the first `length` bytes (all, where not known); None where there is none. Never raises."""
    raw = raw if length is None else raw[: max(length, 0)]
    if len(raw) < 2:
        return None
    family = int.from_bytes(raw[:2], "little")
    if family == _UNIX:
        return _unix(raw[2:], known=length is not None)
    if family == _INET and len(raw) >= 8:
        return f"{inet_ntop(_INET, raw[4:8])}:{int.from_bytes(raw[2:4], 'big')}"
    if family == _INET6 and len(raw) >= 24:
        return f"[{inet_ntop(_INET6, raw[8:24])}]:{int.from_bytes(raw[2:4], 'big')}"
    if family == _UNSPECIFIED:
        return None
    return _FAMILIES.get(family, f"address family {family}")


def _unix(name: bytes, *, known: bool) -> str | None:
    """A path ends at its NUL; an abstract name begins with one and has the length that was given."""
    if not name:
        return None
    if name[0]:
        return os.fsdecode(name.partition(b"\0")[0])
    abstract = name[1:] if known else name[1:].partition(b"\0")[0]
    return "@" + os.fsdecode(abstract.rstrip(b"\0")) if abstract.strip(b"\0") else None
