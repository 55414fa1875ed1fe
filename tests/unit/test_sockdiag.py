"""What sock_diag answers is bytes from the kernel: read as they are laid out, and refused by one error when they are not."""

import contextlib
import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.kernel import netlink, nets, sockdiag
from pellucid.kernel.netlink import Garbled, collect
from pellucid.kernel.sockdiag import INET, INET6, TCP, UDP, inet_reader, plain_ends, read_unix, reversed_ends

ANSWER = 20


def message(body, kind=ANSWER, flags=2):
    return struct.pack("=IHHII", 16 + len(body), kind, flags, 1, 0) + body + bytes(-len(body) % 4)


def attribute(kind, value):
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def ends(local, local_port, remote, remote_port):
    return struct.pack(">HH", local_port, remote_port) + local.ljust(16, b"\0") + remote.ljust(16, b"\0")


HERE = ends(bytes([127, 0, 0, 1]), 40000, bytes([127, 0, 0, 1]), 8000)


def inet(*attributes, family=INET, state=1, where=HERE, inode=815):
    fixed = struct.pack("=BBBB", family, state, 1, 3) + where + struct.pack("=I8s5I", 0, b"", 200, 7, 27, 1000, inode)
    return fixed + b"".join(attributes)


def info(acked, received, size=232):
    raw = bytearray(size)
    struct.pack_into("=QQ", raw, 120, acked, received)
    struct.pack_into("=I", raw, 8 + 4 * 9, 41000)
    return bytes(raw)


def read_all(datagram, read):
    records = []
    return records, collect(datagram, read, records)


def test_a_socket_with_its_counters():
    datagram = message(inet(attribute(8, b"\0"), attribute(2, info(28, 500))))
    ((found,), (done, changed)) = read_all(datagram, inet_reader(TCP))
    assert not done
    assert not changed
    assert (found.local_port, found.remote_port, found.inode) == (40000, 8000, 815)
    assert (found.timer, found.retransmits, found.expires_ms, found.rx_queue, found.tx_queue) == (1, 3, 200, 7, 27)
    tcp = sockdiag.tcp(found.info)
    assert (tcp.bytes_acked, tcp.bytes_received, tcp.last_data_sent_ms, tcp.window) == (28, 500, 41000, 0)


def test_the_place_of_the_counters_is_looked_for_anew_when_it_moves():
    """The second message has another attribute before them, the third none at all, the fourth is as the first."""
    first = message(inet(attribute(2, info(1, 0))))
    moved = message(inet(attribute(8, b"\0"), attribute(22, bytes(3)), attribute(2, info(2, 0))))
    bare = message(inet(attribute(8, b"\0")))
    found, _ = read_all(first + moved + bare + first, inet_reader(TCP))
    assert [sockdiag.tcp(one.info).bytes_acked if one.info else None for one in found] == [1, 2, None, 1]


def test_no_counters_before_the_handshake_and_after_the_end():
    """A request socket may carry attributes of its own; tcp_info is not among them (net/ipv4/inet_diag.c)."""
    found, _ = read_all(message(inet(state=3)) + message(inet(state=6)), inet_reader(TCP))
    assert [sockdiag.tcp(one.info) for one in found] == [None, None]


def test_the_counters_of_an_old_kernel_are_not_invented():
    assert sockdiag.tcp(info(28, 500)[:104]) is None
    assert sockdiag.tcp(info(28, 500)[:136]).window is None


def test_only_the_wanted_inodes():
    datagram = message(inet(inode=1)) + message(inet(inode=2)) + message(b"\0\0\0\0", netlink.DONE)
    found, (done, _) = read_all(datagram, inet_reader(TCP, {2}))
    assert [one.inode for one in found] == [2]
    assert done


def test_a_unix_socket_with_all_that_it_tells():
    body = struct.pack("=BBBxI8s", 1, 1, 10, 33, b"") + b"".join(
        (
            attribute(0, b"\0name"),
            attribute(2, struct.pack("=I", 44)),
            attribute(3, struct.pack("=III", 5, 6, 7)),
            attribute(4, struct.pack("=II", 3, 128)),
        )
    )
    ((found,), _) = read_all(message(body), read_unix)
    assert (found.inode, found.state, found.name, found.peer) == (33, 10, b"\0name", 44)
    assert (found.pending, found.rx_queue, found.tx_queue) == ((5, 6, 7), 3, 128)


def test_a_table_that_changed_is_known_as_such():
    datagram = message(inet(), flags=2 | netlink.DUMP_INTERRUPTED) + message(b"\0\0\0\0", netlink.DONE)
    assert read_all(datagram, inet_reader(TCP))[1] == (True, True)


def answered(*answers):
    """What is made of a table that is answered in turn with these: lists of parts, or errors."""
    rooms = []

    def once(room, records):
        rooms.append(room)
        answer = answers[len(rooms) - 1]
        if isinstance(answer, OSError):
            raise answer
        netlink.assemble(answer, inet_reader(TCP), records)

    records, gaps = netlink.whole(once, "TCP sockets")
    return [one.inode for one in records], gaps, rooms


END = message(b"\0\0\0\0", netlink.DONE)
CHANGED = [message(inet(inode=1), flags=2 | netlink.DUMP_INTERRUPTED), END]


def test_a_table_that_changed_is_asked_for_again():
    found, gaps, rooms = answered(CHANGED, [message(inet(inode=2)), message(inet(inode=3)) + END])
    assert (found, gaps) == ([2, 3], ())
    assert len(rooms) == 2


def test_a_table_that_always_changes_is_a_gap_after_three_times():
    found, (gap,), rooms = answered(CHANGED, CHANGED, CHANGED)
    assert (found, gap.what, len(rooms)) == ([1], "TCP sockets", netlink.TRIES)
    assert "changed" in gap.why


def test_without_room_the_next_try_has_more():
    full = OSError(errno.ENOBUFS, "")
    found, gaps, rooms = answered(full, [message(inet(inode=4)) + END])
    assert (found, gaps) == ([4], ())
    assert rooms[1] == 2 * rooms[0]
    assert len(answered(full, full, full)[2]) == netlink.TRIES


@pytest.mark.parametrize(
    "answer", [OSError(errno.EPERM, ""), TimeoutError(), OSError(errno.ENOENT, ""), [b"\1"], [message(inet(inode=5))]]
)
def test_another_failure_is_a_gap_at_once(answer):
    found, (gap,), rooms = answered(answer)
    assert found == ([5] if answer == [message(inet(inode=5))] else [])
    assert gap.why
    assert len(rooms) == 1


@pytest.mark.parametrize("kind", [netlink.ERROR, netlink.DONE])
def test_a_refusal_has_the_kernels_number(kind):
    with pytest.raises(OSError, match="No such file") as error:
        read_all(message(struct.pack("=i", -2), kind), inet_reader(TCP))
    assert error.value.errno == 2


@pytest.mark.parametrize(
    "datagram",
    [
        b"\1",
        bytes(16),
        struct.pack("=IHHII", 15, ANSWER, 2, 1, 0),
        struct.pack("=IHHII", 99, ANSWER, 2, 1, 0),
        message(b"short"),
        message(inet(struct.pack("=HH", 99, 2))),
        message(inet(struct.pack("=HH", 0, 2))),
        message(b"", netlink.ERROR),
    ],
)
def test_what_is_no_answer_is_refused(datagram):
    with pytest.raises(Garbled):
        read_all(datagram, inet_reader(TCP))


RAW = st.binary(max_size=400)
FRAMED = st.lists(st.builds(message, RAW, st.integers(0, 40), st.integers(0, 0xFFFF)), max_size=4).map(b"".join)
DIAG = st.lists(
    st.builds(lambda rest, state: message(inet(rest, state=state)), RAW, st.integers(0, 255)), max_size=3
).map(b"".join)


@given(st.one_of(RAW, FRAMED, DIAG))
def test_garbage_ends_in_one_error_or_in_records(datagram):
    for read in (inet_reader(TCP), inet_reader(UDP), inet_reader(TCP, {815}), read_unix):
        records = []
        with contextlib.suppress(Garbled, OSError):
            collect(datagram, read, records)
        assert len(records) <= len(datagram) // 16
        for one in records:
            if isinstance(one, sockdiag.Inet):
                sockdiag.tcp(one.info)
                assert one.local_port < 1 << 16
                assert len(one.remote_address) in {4, 16}


@given(st.binary(min_size=36, max_size=36))
def test_the_other_end_of_the_other_end_is_this_one(where):
    assert reversed_ends(reversed_ends(where)) == where


def test_the_ends_of_a_connection_are_equal_in_both_families():
    mapped = bytes(10) + b"\xff\xff" + bytes([127, 0, 0, 1])
    (four, six, other), _ = read_all(
        message(inet())
        + message(inet(family=INET6, where=ends(mapped, 40000, mapped, 8000)))
        + message(inet(family=INET6, where=ends(bytes(15) + b"\1", 40000, bytes(15) + b"\1", 8000))),
        inet_reader(TCP),
    )
    assert plain_ends(four) == plain_ends(six) != plain_ends(other)
    assert six.local_address == bytes([127, 0, 0, 1])


@pytest.mark.parametrize(
    ("address", "private"),
    [
        ("10.0.0.5", True),
        ("172.16.0.1", True),
        ("172.31.255.255", True),
        ("172.32.0.1", False),
        ("192.168.9.9", True),
        ("100.64.0.1", True),
        ("100.128.0.1", False),
        ("169.254.1.1", True),
        ("8.8.8.8", False),
        ("127.0.0.1", False),
        ("fd00::1", True),
        ("fe80::1", True),
        ("2001:db8::1", False),
        ("::1", False),
    ],
)
def test_addresses_that_may_be_another_namespaces(address, private):
    import ipaddress

    assert nets.private(ipaddress.ip_address(address).packed) is private
