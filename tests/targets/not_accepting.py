"""Listens and never accepts; busy elsewhere. Prints its port."""

import socket, time

listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen(5)
print(listener.getsockname()[1], flush=True)


def elsewhere():
    time.sleep(100)


elsewhere()
