"""Prints numbered lines until it is ended; first "ready" on stdout. Usage: printing.py WAY SECONDS_BETWEEN

print · write · writev · pwritev · dup (descriptor 9) · send (stdout is a socket) · shell (a child of sh prints) · stderr · long
(lines of 100 kB) · fork (a child prints) · spliced · rotate (stdout becomes another file, argv[3], after 0.5 s) · quiet
"""
import os, socket, subprocess, sys, time

way, pause = sys.argv[1], float(sys.argv[2])
print("ready", flush=True)
if way != "quiet":
    sys.stdin.readline()  # until the look has begun
if way == "fork" and os.fork():
    while True:
        time.sleep(1)
if way == "shell":
    code = "import time\nn = 0\nwhile True:\n    print('line', n, flush=True)\n    n += 1\n    time.sleep(%r)" % pause
    subprocess.run(["sh", "-c", '"$0" -c "$1"; true', sys.executable, code], check=False)
if way == "dup":
    os.dup2(1, 9)
if way == "send":
    out = socket.socket(fileno=1)
number = 0
began = time.time()
while True:
    line = b"line %d\n" % number
    if way == "print":
        print("line", number, flush=True)
    elif way in ("write", "fork", "rotate"):
        if way == "rotate" and time.time() - began > 0.5:
            os.dup2(os.open(sys.argv[3], os.O_WRONLY | os.O_CREAT), 1)
            began = float("inf")
        os.write(1, line)
    elif way == "stderr":
        os.write(2, line)
    elif way == "writev":
        os.writev(1, [line[:4], b"", line[4:]])
    elif way == "pwritev":
        os.pwritev(1, [line[:2], line[2:]], os.lseek(1, 0, os.SEEK_END))
    elif way == "dup":
        os.write(9, line)
    elif way == "send":
        out.sendmsg([line[:3], line[3:]]) if number % 2 else out.send(line)
    elif way == "long":
        os.write(1, line[:-1] + b" " + b"x" * 100000 + b"\n")
    elif way == "spliced":
        with open(__file__, "rb") as file:
            os.sendfile(1, file.fileno(), 0, 100)
    elif way == "quiet":
        time.sleep(1)
    number += 1
    time.sleep(pause)
