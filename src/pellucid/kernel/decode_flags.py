"""Numbers of the kernel's ABI as the words that its headers have for them, by the kind of argument that they stand in.

Three shapes: a bit mask (`O_CREAT|O_EXCL`), a bit mask with a field of values in its low bits (open, socket types), a plain
value (`SEEK_SET`). Bits without a word are kept as a number, never dropped. Sources: include/uapi of Linux 6.18, x86-64.
"""

from collections.abc import Callable
from functools import lru_cache

from pellucid.kernel.fdinfo import flag_words


def _numbered(text: str, first: int = 0) -> dict[int, str]:
    """`A B C` are first, first + 1, ...; a `-` has no name."""
    return {first + place: name for place, name in enumerate(text.split()) if name != "-"}


def _given(text: str) -> dict[int, str]:
    """`A=1 B=0x10`."""
    return {int(number, 0): name for name, _, number in (pair.partition("=") for pair in text.split())}


def _bits(text: str) -> dict[int, str]:
    """`A B C` are the bits 1, 2, 4, ...; a `-` has no name."""
    return {1 << place: name for place, name in enumerate(text.split()) if name != "-"}


_AT = _given(
    "AT_EACCESS=0x200 AT_SYMLINK_NOFOLLOW=0x100 AT_SYMLINK_FOLLOW=0x400 AT_NO_AUTOMOUNT=0x800 AT_EMPTY_PATH=0x1000 "
    "AT_STATX_FORCE_SYNC=0x2000 AT_STATX_DONT_SYNC=0x4000"
)
_CLONE = _given(
    "CLONE_NEWTIME=0x80 CLONE_VM=0x100 CLONE_FS=0x200 CLONE_FILES=0x400 CLONE_SIGHAND=0x800 CLONE_PIDFD=0x1000 CLONE_PTRACE=0x2000 "
    "CLONE_VFORK=0x4000 CLONE_PARENT=0x8000 CLONE_THREAD=0x10000 CLONE_NEWNS=0x20000 CLONE_SYSVSEM=0x40000 CLONE_SETTLS=0x80000 "
    "CLONE_PARENT_SETTID=0x100000 CLONE_CHILD_CLEARTID=0x200000 CLONE_CHILD_SETTID=0x1000000 CLONE_NEWCGROUP=0x2000000 "
    "CLONE_NEWUTS=0x4000000 CLONE_NEWIPC=0x8000000 CLONE_NEWUSER=0x10000000 CLONE_NEWPID=0x20000000 CLONE_NEWNET=0x40000000 "
    "CLONE_IO=0x80000000"
)
_MMAP = _given(
    "MAP_SHARED=1 MAP_PRIVATE=2 MAP_FIXED=0x10 MAP_ANONYMOUS=0x20 MAP_GROWSDOWN=0x100 MAP_DENYWRITE=0x800 MAP_LOCKED=0x2000 "
    "MAP_NORESERVE=0x4000 MAP_POPULATE=0x8000 MAP_NONBLOCK=0x10000 MAP_STACK=0x20000 MAP_HUGETLB=0x40000 "
    "MAP_FIXED_NOREPLACE=0x100000"
)
_MSG = _given(
    "MSG_OOB=1 MSG_PEEK=2 MSG_DONTROUTE=4 MSG_CTRUNC=8 MSG_TRUNC=0x20 MSG_DONTWAIT=0x40 MSG_EOR=0x80 MSG_WAITALL=0x100 "
    "MSG_CONFIRM=0x800 MSG_ERRQUEUE=0x2000 MSG_NOSIGNAL=0x4000 MSG_MORE=0x8000 MSG_WAITFORONE=0x10000 MSG_FASTOPEN=0x20000000 "
    "MSG_CMSG_CLOEXEC=0x40000000"
)
_INOTIFY = _bits(
    "IN_ACCESS IN_MODIFY IN_ATTRIB IN_CLOSE_WRITE IN_CLOSE_NOWRITE IN_OPEN IN_MOVED_FROM IN_MOVED_TO IN_CREATE IN_DELETE "
    "IN_DELETE_SELF IN_MOVE_SELF"
) | _given("IN_ONLYDIR=0x1000000 IN_DONT_FOLLOW=0x2000000 IN_MASK_ADD=0x20000000 IN_ONESHOT=0x80000000")
_MOUNT = _bits(
    "MS_RDONLY MS_NOSUID MS_NODEV MS_NOEXEC MS_SYNCHRONOUS MS_REMOUNT MS_MANDLOCK MS_DIRSYNC - - MS_NOATIME MS_NODIRATIME MS_BIND "
    "MS_MOVE MS_REC MS_SILENT - MS_UNBINDABLE MS_PRIVATE MS_SLAVE MS_SHARED"
)

MASKS: dict[str, dict[int, str]] = {
    "at": _AT,
    "closerange": {2: "CLOSE_RANGE_UNSHARE", 4: "CLOSE_RANGE_CLOEXEC"},
    "fallocate": _bits(
        "FALLOC_FL_KEEP_SIZE FALLOC_FL_PUNCH_HOLE - FALLOC_FL_COLLAPSE_RANGE FALLOC_FL_ZERO_RANGE FALLOC_FL_INSERT_RANGE"
    ),
    "flock": _bits("LOCK_SH LOCK_EX LOCK_NB LOCK_UN"),
    "inotify": _INOTIFY,
    "memfd": _bits("MFD_CLOEXEC MFD_ALLOW_SEALING MFD_HUGETLB MFD_NOEXEC_SEAL MFD_EXEC"),
    "mmap": _MMAP,
    "mount": _MOUNT,
    "msg": _MSG,
    "msync": _bits("MS_ASYNC MS_INVALIDATE MS_SYNC"),
    "prot": _bits("PROT_READ PROT_WRITE PROT_EXEC"),
    "rename": _bits("RENAME_NOREPLACE RENAME_EXCHANGE RENAME_WHITEOUT"),
    "rw": _bits("RWF_HIPRI RWF_DSYNC RWF_SYNC RWF_NOWAIT RWF_APPEND"),
    "splice": _bits("SPLICE_F_MOVE SPLICE_F_NONBLOCK SPLICE_F_MORE SPLICE_F_GIFT"),
    "unlink": {0x200: "AT_REMOVEDIR"},
    "umount": _bits("MNT_FORCE MNT_DETACH MNT_EXPIRE UMOUNT_NOFOLLOW"),
    "wait": _given("WNOHANG=1 WUNTRACED=2 WCONTINUED=8 __WNOTHREAD=0x20000000 __WALL=0x40000000 __WCLONE=0x80000000"),
    "waitid": _given("WNOHANG=1 WSTOPPED=2 WEXITED=4 WCONTINUED=8 WNOWAIT=0x1000000"),
}

_DOMAIN = _numbered(
    "AF_UNSPEC AF_UNIX AF_INET - - - - - - - AF_INET6 - - - - - AF_NETLINK AF_PACKET - - - - - - - - - - - AF_CAN - - - - - - - - "
    "AF_ALG - AF_VSOCK"
)
_LEVEL = _given("SOL_IP=0 SOL_SOCKET=1 SOL_TCP=6 SOL_UDP=17 SOL_IPV6=41 SOL_PACKET=263 SOL_NETLINK=270")
_OPTION = _numbered(
    "SO_DEBUG SO_REUSEADDR SO_TYPE SO_ERROR SO_DONTROUTE SO_BROADCAST SO_SNDBUF SO_RCVBUF SO_KEEPALIVE SO_OOBINLINE "
    "SO_NO_CHECK SO_PRIORITY SO_LINGER SO_BSDCOMPAT SO_REUSEPORT SO_PASSCRED SO_PEERCRED SO_RCVLOWAT SO_SNDLOWAT SO_RCVTIMEO "
    "SO_SNDTIMEO",
    1,
)
_FCNTL = _numbered(
    "F_DUPFD F_GETFD F_SETFD F_GETFL F_SETFL F_GETLK F_SETLK F_SETLKW F_SETOWN F_GETOWN F_SETSIG F_GETSIG"
) | _given(
    "F_OFD_GETLK=36 F_OFD_SETLK=37 F_OFD_SETLKW=38 F_SETLEASE=1024 F_GETLEASE=1025 F_DUPFD_CLOEXEC=1030 F_SETPIPE_SZ=1031 "
    "F_GETPIPE_SZ=1032 F_ADD_SEALS=1033 F_GET_SEALS=1034"
)
_IOCTL = _given(
    "TCGETS=0x5401 TCSETS=0x5402 TCSETSW=0x5403 TCSETSF=0x5404 TIOCSCTTY=0x540e TIOCGPGRP=0x540f TIOCSPGRP=0x5410 "
    "TIOCGWINSZ=0x5413 TIOCSWINSZ=0x5414 FIONREAD=0x541b FIONBIO=0x5421 TIOCNOTTY=0x5422 FIONCLEX=0x5450 FIOCLEX=0x5451 "
    "TCGETS2=0x802c542a FICLONE=0x40049409 SIOCGIFCONF=0x8912 SIOCGIFFLAGS=0x8913 SIOCGIFADDR=0x8915"
)
_FUTEX = _numbered(
    "FUTEX_WAIT FUTEX_WAKE FUTEX_FD FUTEX_REQUEUE FUTEX_CMP_REQUEUE FUTEX_WAKE_OP FUTEX_LOCK_PI FUTEX_UNLOCK_PI "
    "FUTEX_TRYLOCK_PI FUTEX_WAIT_BITSET FUTEX_WAKE_BITSET FUTEX_WAIT_REQUEUE_PI FUTEX_CMP_REQUEUE_PI FUTEX_LOCK_PI2"
)
_MADVISE = _numbered(
    "MADV_NORMAL MADV_RANDOM MADV_SEQUENTIAL MADV_WILLNEED MADV_DONTNEED - - - MADV_FREE MADV_REMOVE MADV_DONTFORK MADV_DOFORK "
    "MADV_MERGEABLE MADV_UNMERGEABLE MADV_HUGEPAGE MADV_NOHUGEPAGE MADV_DONTDUMP MADV_DODUMP"
)
_PRCTL = _given(
    "PR_SET_PDEATHSIG=1 PR_GET_DUMPABLE=3 PR_SET_DUMPABLE=4 PR_SET_NAME=15 PR_GET_NAME=16 PR_GET_SECCOMP=21 PR_SET_SECCOMP=22 "
    "PR_CAPBSET_READ=23 PR_CAPBSET_DROP=24 PR_SET_TIMERSLACK=29 PR_SET_CHILD_SUBREAPER=36 PR_SET_NO_NEW_PRIVS=38 PR_CAP_AMBIENT=47 "
    "PR_SET_PTRACER=0x59616d61 PR_SET_VMA=0x53564d41"
)
_RESOURCE = _numbered(
    "RLIMIT_CPU RLIMIT_FSIZE RLIMIT_DATA RLIMIT_STACK RLIMIT_CORE RLIMIT_RSS RLIMIT_NPROC RLIMIT_NOFILE RLIMIT_MEMLOCK RLIMIT_AS "
    "RLIMIT_LOCKS RLIMIT_SIGPENDING RLIMIT_MSGQUEUE RLIMIT_NICE RLIMIT_RTPRIO RLIMIT_RTTIME"
)

VALUES: dict[str, dict[int, str]] = {
    "clock": _numbered(
        "CLOCK_REALTIME CLOCK_MONOTONIC CLOCK_PROCESS_CPUTIME_ID CLOCK_THREAD_CPUTIME_ID CLOCK_MONOTONIC_RAW "
        "CLOCK_REALTIME_COARSE CLOCK_MONOTONIC_COARSE CLOCK_BOOTTIME CLOCK_REALTIME_ALARM CLOCK_BOOTTIME_ALARM - CLOCK_TAI"
    ),
    "domain": _DOMAIN,
    "epollctl": _numbered("EPOLL_CTL_ADD EPOLL_CTL_DEL EPOLL_CTL_MOD", 1),
    "fadvise": _numbered(
        "POSIX_FADV_NORMAL POSIX_FADV_RANDOM POSIX_FADV_SEQUENTIAL POSIX_FADV_WILLNEED POSIX_FADV_DONTNEED POSIX_FADV_NOREUSE"
    ),
    "fcntl": _FCNTL,
    "idtype": _numbered("P_ALL P_PID P_PGID P_PIDFD"),
    "ioctl": _IOCTL,
    "level": _LEVEL,
    "madvise": _MADVISE,
    "option": _OPTION,
    "prctl": _PRCTL,
    "resource": _RESOURCE,
    "shutdown": _numbered("SHUT_RD SHUT_WR SHUT_RDWR"),
    "sigmask": _numbered("SIG_BLOCK SIG_UNBLOCK SIG_SETMASK"),
    "whence": _numbered("SEEK_SET SEEK_CUR SEEK_END SEEK_DATA SEEK_HOLE"),
}

_SOCKET_TYPES = _numbered("SOCK_STREAM SOCK_DGRAM SOCK_RAW SOCK_RDM SOCK_SEQPACKET SOCK_DCCP - - - SOCK_PACKET", 1)
_SOCKET_FLAGS = {0o4000: "SOCK_NONBLOCK", 0o2000000: "SOCK_CLOEXEC"}
_ACCESS = _bits("X_OK W_OK R_OK")
_FUTEX_PRIVATE, _FUTEX_REALTIME = 128, 256
_CLONE_SIGNAL = 0xFF


def words(kind: str, number: int) -> str | None:
    """`PROT_READ|PROT_WRITE` for ("prot", 3); None where `kind` is no table of this file."""
    if kind in MASKS:
        return mask(MASKS[kind], number & 0xFFFFFFFF)
    if kind in VALUES:
        value = number & 0xFFFFFFFF
        return VALUES[kind].get(value, hex(value) if value > 4096 else str(value))
    spelt = _SPELT.get(kind)
    return spelt(number & 0xFFFFFFFF) if spelt else None


def mask(names: dict[int, str], number: int) -> str:
    """The words of all bits, and what is left as a number."""
    found = [name for bits, name in names.items() if number & bits == bits]
    for bits, name in names.items():
        if name in found:
            number &= ~bits
    if number or not found:
        found.append(hex(number) if number else "0")
    return "|".join(found)


def _open(number: int) -> str:
    return flag_words(number)


def _socket_type(number: int) -> str:
    kind = _SOCKET_TYPES.get(number & 0xF)
    rest = number & ~0xF if kind else number
    flags = mask(_SOCKET_FLAGS, rest) if rest or not kind else ""
    return "|".join(word for word in (kind, flags) if word)


def _futex(number: int) -> str:
    command = _FUTEX.get(number & 127, str(number & 127))
    private = "_PRIVATE" if number & _FUTEX_PRIVATE else ""
    return command + private + ("|FUTEX_CLOCK_REALTIME" if number & _FUTEX_REALTIME else "")


def _clone(number: int) -> str:
    """The low byte is the signal that the parent gets."""
    sent = number & _CLONE_SIGNAL
    flags = number & ~_CLONE_SIGNAL
    return "|".join(([mask(_CLONE, flags)] if flags else []) + ([signal_name(sent)] if sent else [])) or "0"


def _access(number: int) -> str:
    return mask(_ACCESS, number) if number else "F_OK"


@lru_cache(128)
def signal_name(number: int) -> str:
    """`SIGTERM` for 15."""
    import signal

    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


_SPELT: dict[str, Callable[[int], str]] = {
    "open": _open,
    "socktype": _socket_type,
    "futex": _futex,
    "clone": _clone,
    "access": _access,
    "signal": signal_name,
}
