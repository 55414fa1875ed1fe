"""Asks a server for / and waits for the answer. Usage: http_client.py PORT [TIMEOUT]; prints "asking"."""

import http.client, sys

port, timeout = int(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else None


def fetch():
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    connection.request("GET", "/")
    print("asking", flush=True)
    return connection.getresponse().read()


print(fetch(), flush=True)
