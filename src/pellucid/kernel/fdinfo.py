"""The flags of a descriptor in the words of open(2), and what stands in its fdinfo beside them (fs/proc/fd.c, proc_pid_fdinfo(5))."""

import os

from pellucid.kernel.procfs import parse_status

_ACCESS = ("O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE")
_WORDS = (
    "O_CREAT O_EXCL O_NOCTTY O_TRUNC O_APPEND O_NONBLOCK O_SYNC O_DSYNC O_ASYNC O_DIRECT O_TMPFILE O_DIRECTORY O_NOFOLLOW "
    "O_NOATIME O_PATH O_CLOEXEC"
)
_FLAGS = tuple(
    (word, int(getattr(os, word))) for word in _WORDS.split()
)  # this machine's bits; they differ by architecture
_SHOWN = 16


def flag_words(flags: int) -> str:
    """`O_RDWR|O_CLOEXEC` for the octal `flags` of fdinfo; bits without a word (O_LARGEFILE) are left out."""
    words = [_ACCESS[flags & 3]]
    left = flags
    for word, bits in _FLAGS:
        if (
            bits and left & bits == bits
        ):  # O_SYNC holds the bit of O_DSYNC, O_TMPFILE that of O_DIRECTORY: the whole comes first
            words.append(word)
            left &= ~bits
    return "|".join(words)


def detail(kind: str, info: bytes, flags: int) -> str:
    """One phrase of what the fdinfo of a descriptor of this `kind` tells; "" where it tells nothing."""
    told = parse_status(info)
    if kind == "pipe":
        return ("read end", "write end", "both ends", "")[flags & 3]
    if kind == "epoll":
        from pellucid.kernel.polling import epoll_targets  # most lists of files have none

        return "watches " + _listed([str(fd) for fd, _ in epoll_targets(info)])
    if kind == "eventfd" and "eventfd-count" in told:
        return f"count {int(told['eventfd-count'], 16)}"
    if kind == "timerfd":
        return _timer(told)
    if kind == "signalfd" and "sigmask" in told:
        return "for " + _listed(_signals(int(told["sigmask"], 16)))
    if kind == "inotify":
        return f"watches {info.count(b'inotify wd:')} files"
    if kind == "pidfd" and "Pid" in told:
        return (
            f"pid {told['Pid']}"
            if told["Pid"] not in ("-1", "0")
            else "of a process that ended, or of another namespace"
        )
    if "lock" in told:
        return "locked: " + " ".join(told["lock"].split()[1:4])
    return ""


def _listed(words: list[str]) -> str:
    more = f" and {len(words) - _SHOWN} more" if len(words) > _SHOWN else ""
    return (", ".join(words[:_SHOWN]) or "nothing") + more


def _timer(told: dict[str, str]) -> str:
    """it_value is (seconds, nanoseconds) until it fires, zero when it is not armed (timerfd_create(2))."""
    if "it_value" not in told:
        return ""
    value, interval = _seconds(told["it_value"]), _seconds(told.get("it_interval", "(0, 0)"))
    if not value:
        return "not armed"
    return f"fires in {value:.3g} s" + (f", then every {interval:.3g} s" if interval else "")


def _seconds(pair: str) -> float:
    whole, _, nanoseconds = pair.strip("()").partition(",")
    return int(whole) + int(nanoseconds) / 1e9


def _signals(mask: int) -> list[str]:
    import signal

    names = {one.value: one.name for one in signal.Signals}
    return [names.get(bit + 1, f"signal {bit + 1}") for bit in range(64) if mask >> bit & 1]
