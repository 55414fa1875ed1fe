"""So many processes of a Python program that each sleep: forked.py COUNT; prints "ready". All end with the first one."""
import ctypes, os, signal, sys, time

parent = os.getpid()
for _ in range(int(sys.argv[1]) - 1):
    if not os.fork():
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:
            os._exit(0)
        while True:
            time.sleep(1000)
print("ready", flush=True)
while True:
    time.sleep(1000)
