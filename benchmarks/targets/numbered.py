"""Writes numbered lines, one a call, as fast as it can for SECONDS, and tells on stderr how many nanoseconds one took. Usage: numbered.py SECONDS

It prints "ready" on stderr and begins with a line on stdin, so that who looks at it can be there before.
"""

import os
import sys
import time

seconds = float(sys.argv[1])
sys.stderr.write("ready\n")
sys.stderr.flush()
sys.stdin.readline()
number = 0
began = time.perf_counter_ns()
until = began + int(seconds * 1e9)
while True:
    for _ in range(100):
        os.write(1, b"line %d\n" % number)
        number += 1
    now = time.perf_counter_ns()
    if now >= until:
        break
print(number, (now - began) / number, file=sys.stderr)
