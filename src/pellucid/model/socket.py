"""A socket and its other end, as sock_diag(7) tells them."""

from typing import Literal

from msgspec import Struct

Timer = Literal["none", "retransmit", "keepalive", "time-wait", "probe"]
"""tcp_diag's idiag_timer 0..4 (net/ipv4/inet_diag.c): probe is the zero-window probe."""


class Tcp(Struct, frozen=True, gc=False):
    """The part of struct tcp_info (include/uapi/linux/tcp.h) that verdicts rest on. Times in ms, sizes in bytes.

    In SYN_SENT the `last_*` times are time since boot, not of this connection: no verdict may use them there.
    """

    unacked: int
    lost: int
    retransmits: int
    total_retrans: int
    backoff: int
    rtt_us: int
    last_data_sent_ms: int
    last_data_recv_ms: int
    last_ack_recv_ms: int
    bytes_acked: int
    bytes_received: int
    notsent: int
    window: int | None = None
    """Bytes that the other end still has room for (Linux 5.4 and newer)."""


class Socket(Struct, frozen=True, gc=False):
    """One end. `local` and `remote` are `127.0.0.1:8000`, `[::1]:8000` or a unix path (abstract ones begin with @).

    `fd` is None for a socket of another process or one that nobody accepted yet. For a LISTEN socket `rx_queue` is the number of
    connections that wait to be accepted and `tx_queue` the limit (tcp(7), inet_diag); else bytes not yet read / not acknowledged.
    """

    fd: int | None
    proto: str
    """tcp, tcp6, udp, udp6, unix, unix-dgram, unix-seqpacket, netlink, packet, ..."""
    state: str
    local: str
    remote: str
    rx_queue: int
    tx_queue: int
    inode: int
    uid: int = 0
    timer: Timer = "none"
    timer_ms: int = 0
    retransmits: int = 0
    tcp: Tcp | None = None
    peer_pid: int | None = None
    """The first process on this host that holds the other end; all of them in `peer_pids`."""
    peer_pids: tuple[int, ...] = ()
    far: "Socket | None" = None
    """The other end's own view, when it is on this host (its `far` is None)."""
    listener: "Socket | None" = None
    """The listening socket in whose queue the other end still waits to be accepted."""
    pids: tuple[int, ...] = ()
    """Who holds this end, lowest pid first; empty where nobody does or they could not be read."""
    accepted: bool | None = None
    """True: somebody listens on the local port, so this end came from accept(2); False: the other end did; None: neither seen."""
    loopback: bool = False
    """The other end must be on this host: a loopback or own address, or a unix socket."""
