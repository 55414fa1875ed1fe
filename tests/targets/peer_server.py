"""A server on ADDRESS (a path is a unix socket) that treats its one connection in a way of its own. Prints its port.

read: accepts, reads, and sleeps | unread: accepts and sleeps | unaccepted: sleeps | full: the same, with a queue of one
answer: answers after SIGUSR1 | serve: answers and waits for the next | greet: speaks first | hang up: reads and closes
"""

import signal
import socket
import sys
import time

signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
address, manner = sys.argv[1:3]
family = socket.AF_UNIX if "/" in address else socket.AF_INET6 if ":" in address else socket.AF_INET
listening = socket.socket(family)
listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listening.bind(address if family == socket.AF_UNIX else (address, 0))
listening.listen(0 if manner == "full" else 5)
print("0" if family == socket.AF_UNIX else listening.getsockname()[1], flush=True)
if manner in ("unaccepted", "full"):
    time.sleep(100)
connection, _ = listening.accept()
if manner == "unread":
    time.sleep(100)
if manner == "greet":
    connection.sendall(b"220 hello\r\n")
asked = connection.recv(9999)
if manner == "answer":
    signal.sigwait({signal.SIGUSR1})
    connection.sendall(b"x" * 500)
if manner == "hang up":
    connection.close()
if manner == "serve":
    time.sleep(0.05)  # several ticks of the kernel's clock: what was last is then known
    connection.sendall(b"y" * 500)
    connection.recv(9999)
time.sleep(100)
