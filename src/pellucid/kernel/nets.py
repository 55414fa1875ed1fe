"""Which addresses belong to this network namespace, and which may belong to another one of this host.

The kernel says so itself: the route to an own address is of type "local" (ip-route(8)). That covers 127.0.0.0/8, the addresses
of every interface, and whatever an administrator has added to the local table.
"""

from collections.abc import Iterable
from errno import EHOSTUNREACH, EINVAL, ENETUNREACH
from struct import Struct

from pellucid.kernel import netlink
from pellucid.kernel.netlink import Netlink

_GET_ROUTE = 26  # RTM_GETROUTE, include/uapi/linux/rtnetlink.h
_ROUTE = Struct("=BBBBBBBBI")  # struct rtmsg: family, bits of the destination, ..., type, flags
_TYPE = 7
_LOCAL = 2  # RTN_LOCAL
_DESTINATION = Struct("=HH")  # the header of an RTA_DST attribute
_NO_ROUTE = frozenset({ENETUNREACH, EHOSTUNREACH, EINVAL})


def own(addresses: Iterable[bytes]) -> frozenset[bytes]:
    """Those of `addresses` (4 or 16 bytes, network order) that belong to this namespace. OSError, netlink.Garbled."""
    with Netlink(netlink.ROUTE) as link:
        return frozenset(address for address in addresses if _is_local(link, address))


def private(address: bytes) -> bool:
    """It may belong to another namespace of this host: a private, shared or link-local range (RFC 1918, 6598, 3927, 4193, 4291)."""
    first, second = address[0], address[1]
    if len(address) == 16:
        return first & 0xFE == 0xFC or (first == 0xFE and second & 0xC0 == 0x80)
    return (
        first == 10
        or (first == 172 and 16 <= second < 32)
        or (first == 192 and second == 168)
        or (first == 100 and 64 <= second < 128)
        or (first == 169 and second == 254)
    )


def _is_local(link: Netlink, address: bytes) -> bool:
    size = len(address)
    family = 2 if size == 4 else 10
    body = _ROUTE.pack(family, 8 * size, 0, 0, 0, 0, 0, 0, 0) + _DESTINATION.pack(4 + size, 1) + address
    try:
        datagram, start, end = link.ask(_GET_ROUTE, body)
    except OSError as error:
        if error.errno in _NO_ROUTE:
            return False
        raise
    return end - start > _TYPE and datagram[start + _TYPE] == _LOCAL
