"""1,000 processes with 50 descriptors each, ten of them on the asked file. Usage: many_files.py FOLDER PROCESSES DESCRIPTORS; ends with stdin."""

import os
import signal
import sys

folder, processes, descriptors = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
for number in range(descriptors):
    with open(f"{folder}/file-{number}", "w") as file:
        file.write("x")
with open(f"{folder}/asked", "w") as file:
    file.write("x")
children = []
for process in range(processes):
    child = os.fork()
    if not child:
        kept = [os.open(f"{folder}/file-{number}", os.O_RDONLY) for number in range(descriptors - 3 - (process % 100 == 0))]
        if process % 100 == 0:
            kept.append(os.open(f"{folder}/asked", os.O_RDONLY))
        signal.pause()
    children.append(child)
print("ready", flush=True)
sys.stdin.read()
for child in children:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
