"""A process whose names would do harm where they are not only shown: argv, a thread, a file, the environment, what it prints.

Its thread waits for a lock that MainThread holds, which prints for ever.
"""

import os, sys, tempfile, threading, time

HARM = "<img src=x onerror=document.title='owned'>\x1b[31mred\x1b[0m\n\u202eesrever"
account_lock = threading.Lock()


def settle():
    with account_lock:
        pass


folder = tempfile.TemporaryDirectory()
held = open(os.path.join(folder.name, HARM.replace("/", "")), "w")
with account_lock:
    threading.Thread(target=settle, name=HARM, daemon=True).start()
    print("ready", flush=True)
    number = 0
    while True:
        print(f"line {number} {HARM}", file=sys.stderr, flush=True)
        number += 1
        time.sleep(0.2)
