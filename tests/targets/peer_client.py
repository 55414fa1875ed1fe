"""Connects to ADDRESS PORT and waits for an answer. Prints ready.

connect: says so before it connects | late: asks after SIGUSR1 | big: asks more than fits | half: asks and closes its sending side | silent: asks nothing
"""

import signal
import socket
import sys
import time

signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
address, port, manner = sys.argv[1:4]
family = socket.AF_UNIX if "/" in address else socket.AF_INET6 if ":" in address else socket.AF_INET
connection = socket.socket(family)
if manner == "connect":
    print("ready", flush=True)
connection.connect(address if family == socket.AF_UNIX else (address, int(port)))
if manner != "connect":
    print("ready", flush=True)
if manner == "late":
    signal.sigwait({signal.SIGUSR1})
if manner == "big":
    connection.sendall(b"z" * (20 << 20))
elif manner != "silent":
    connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
if manner == "half":
    connection.shutdown(socket.SHUT_WR)
while connection.recv(9999):
    pass
time.sleep(100)
