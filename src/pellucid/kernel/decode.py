"""A traced call in words: `openat(AT_FDCWD, "/etc/app.conf", O_RDONLY|O_CLOEXEC)`.

What a number means is told by the kind of its argument (`decode_calls`). Strings are those that the tracer copied; a pointer to
anything else stays a pointer. Paths that depend on a directory are resolved by whoever knows the directory: see `absolute`.
"""

import os
from collections.abc import Callable

from pellucid.kernel import syscalls
from pellucid.kernel.decode_address import address
from pellucid.kernel.decode_calls import KINDS
from pellucid.kernel.decode_flags import words
from pellucid.kernel.traced import COMPAT, Called
from pellucid.model.errors import os_name

AT_FDCWD = -100
_SHOWN_NAME = 200

# Results that no program sees: the call is made again, or ends as EINTR (include/linux/errno.h).
RESTARTED = {512: "ERESTARTSYS", 513: "ERESTARTNOINTR", 514: "ERESTARTNOHAND", 516: "ERESTART_RESTARTBLOCK"}

NameOf = Callable[[int], str]
"""What a descriptor is, in words; "" where that is not known."""


def name(number: int) -> str:
    """`openat`; the calls of 32-bit programs have other numbers and are only counted."""
    return f"32-bit syscall {number - COMPAT}" if number >= COMPAT else syscalls.name(number)


def error_name(result: int) -> str:
    """`ENOENT` for -2, "" for what is no error."""
    if not -4096 < result < 0:
        return ""
    return RESTARTED.get(-result) or os_name(-result)


def text(call: Called, what: NameOf = lambda _: "") -> str:
    """The whole call without its result."""
    return f"{name(call.number)}({', '.join(arguments(call, what))})"


def arguments(call: Called, what: NameOf = lambda _: "") -> tuple[str, ...]:
    """Each argument in words; never raises, whatever the numbers are."""
    kinds = KINDS.get(name(call.number))
    if kinds is None:
        return tuple(hex(value) for value in call.arguments)
    strings = [call.path, call.second]
    told = []
    for kind, value in zip(kinds, call.arguments, strict=False):
        if kind == "-":
            continue
        if kind == "path":
            told.append(_string(strings.pop(0) if strings else None, value))
        elif kind == "pair":
            told.append(_pair(call, value))
        elif kind in ("sockaddr", "sockaddrout"):
            told.append((_address(call, kinds) if call.address and value else None) or pointer(value))
        else:
            told.append(_argument(kind, value, what))
    return tuple(told)


def _pair(call: Called, value: int) -> str:
    """The two descriptors that a pipe or a socket pair has."""
    if call.address is None or call.failed:
        return pointer(value)
    return "[{}, {}]".format(*(int.from_bytes(call.address[at : at + 4], "little") for at in (0, 4)))


def _argument(kind: str, value: int, what: NameOf) -> str:
    simple = _SIMPLE.get(kind)
    if simple is not None:
        return simple(value)
    if kind in ("fd", "dirfd"):
        return descriptor(value, what)
    return words(kind, value) or pointer(value)


def descriptor(value: int, what: NameOf) -> str:
    """`3</var/log/app.log>`."""
    fd = c_int(value)
    if fd == AT_FDCWD:
        return "AT_FDCWD"
    known = what(fd) if fd >= 0 else ""
    return f"{fd}<{known}>" if known else str(fd)


def socket_address(call: Called) -> str | None:
    """The address that the call was given or gave."""
    return _address(call, KINDS.get(name(call.number), ()))


def _address(call: Called, kinds: tuple[str, ...]) -> str | None:
    if call.address is None:
        return None
    place = next((place for place, kind in enumerate(kinds) if kind == "sockaddr"), None)
    if place is None or place + 1 >= len(call.arguments):
        return address(call.address)
    return address(call.address, c_int(call.arguments[place + 1]))


def directory_of_path(call: Called, *, second: bool = False) -> int | None:
    """The descriptor that a relative path of this call starts from; None for the working directory."""
    kinds = KINDS.get(name(call.number), ())
    paths = [place for place, kind in enumerate(kinds) if kind == "path"]
    if len(paths) <= second or paths[second] == 0 or kinds[paths[second] - 1] != "dirfd":
        return None
    place = paths[second]
    fd = c_int(call.arguments[place - 1])
    return None if fd == AT_FDCWD else fd


def absolute(path: str, directory: str | None) -> str:
    """`path` from `directory`, without `.` and empty parts; `..` stays, since what it leads to depends on links."""
    if path.startswith("/") or directory is None:
        return path
    if not path:
        return directory
    parts = [part for part in path.split("/") if part not in ("", ".")]
    return "/".join([directory.rstrip("/"), *parts]) if parts else directory


def c_int(register: int) -> int:
    """A C int: the low half of the register, with its sign."""
    low = register & 0xFFFFFFFF
    return low - (1 << 32) if low >> 31 else low


def _long(register: int) -> int:
    return register - (1 << 64) if register >> 63 else register


def pointer(value: int) -> str:
    return hex(value) if value else "NULL"


def _string(value: bytes | None, at: int) -> str:
    if value is None:
        return pointer(at)
    shown = os.fsdecode(value)
    return '"' + (shown if len(shown) <= _SHOWN_NAME else shown[:_SHOWN_NAME] + "…") + '"'


def _pid(value: int) -> str:
    return str(c_int(value))


_SIMPLE: dict[str, Callable[[int], str]] = {
    "buffer": pointer,
    "pointer": pointer,
    "string": pointer,
    "size": str,
    "count": lambda value: str(c_int(value)),
    "number": lambda value: str(c_int(value)),
    "offset": lambda value: str(_long(value)),
    "mode": lambda value: oct(value & 0o7777777).replace("0o", "0"),
    "octal": lambda value: oct(value & 0xFFFFFFFF).replace("0o", "0"),
    "uid": lambda value: str(c_int(value)),
    "pid": _pid,
    "milliseconds": lambda value: "for ever" if c_int(value) < 0 else f"{c_int(value)} ms",
}
