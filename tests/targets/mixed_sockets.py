"""Holds one socket of nearly every kind, some with bytes in their queues, and sleeps. Prints ready. Argument: a directory for unix paths."""

import os
import socket
import sys
import time

directory = sys.argv[1]
S, D = socket.SOCK_STREAM, socket.SOCK_DGRAM


def listening(family, address):
    made = socket.socket(family, S)
    made.bind(address)
    made.listen(7)
    return made


def connected(family, address, kind=S):
    made = socket.socket(family, kind)
    made.connect(address)
    return made


v4 = listening(socket.AF_INET, ("127.0.0.1", 0))
c4 = connected(socket.AF_INET, v4.getsockname())
s4, _ = v4.accept()
c4.send(b"unread")
waiting4 = connected(socket.AF_INET, v4.getsockname())

v6 = listening(socket.AF_INET6, ("::", 0))
c6 = connected(socket.AF_INET6, ("::1", v6.getsockname()[1]))
s6, _ = v6.accept()
mapped = connected(socket.AF_INET6, ("::ffff:127.0.0.1", v6.getsockname()[1]))
from_mapped, _ = v6.accept()
plain = connected(socket.AF_INET, ("127.0.0.1", v6.getsockname()[1]))
to_plain, _ = v6.accept()

u4 = socket.socket(socket.AF_INET, D)
u4.bind(("127.0.0.1", 0))
w4 = connected(socket.AF_INET, u4.getsockname(), D)
w4.send(b"datagram")
u6 = socket.socket(socket.AF_INET6, D)
u6.bind(("::1", 0))

one, two = socket.socketpair()
one.send(b"hello")
path = listening(socket.AF_UNIX, os.path.join(directory, "stream"))
cp = connected(socket.AF_UNIX, path.getsockname())
sp, _ = path.accept()
cp.send(b"hi")
abstract = listening(socket.AF_UNIX, "\0pellucid-test-%d" % os.getpid())
waiting_unix = connected(socket.AF_UNIX, abstract.getsockname())
datagrams = socket.socket(socket.AF_UNIX, D)
datagrams.bind(os.path.join(directory, "datagrams"))
sender = connected(socket.AF_UNIX, datagrams.getsockname(), D)
sender.send(b"abc")
packets = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
unconnected = socket.socket()
duplicate = os.dup(c4.fileno())
print("ready", flush=True)
time.sleep(100)
