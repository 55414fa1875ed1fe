"""25,000 TCP sockets on the loopback: pairs of processes, one with the listening end. Usage: many_sockets.py PAIRS CONNECTIONS; ends with stdin."""

import os
import signal
import socket
import sys

pairs, connections = int(sys.argv[1]), int(sys.argv[2])
children = []


def child(work):
    pid = os.fork()
    if not pid:
        work()
        signal.pause()
        os._exit(0)
    children.append(pid)


for _ in range(pairs):
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    address = listener.getsockname()
    reading, writing = os.pipe()

    def serve(listener=listener, writing=writing):
        kept = [listener.accept()[0] for _ in range(connections)]
        os.write(writing, b".")
        globals()["kept"] = kept

    def connect(listener=listener, address=address):
        listener.close()
        globals()["kept"] = [socket.create_connection(address) for _ in range(connections)]

    child(serve)
    child(connect)
    listener.close()
    assert os.read(reading, 1) == b"."
    os.close(reading)
    os.close(writing)
print("ready", *children, flush=True)
sys.stdin.read()
for pid in children:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
