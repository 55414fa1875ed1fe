"""Keeps Python's collector busy, or turns it off: `collecting.py churn|off|frozen|garbage|floor|quiet`; prints gc's own numbers when asked.

Before "ready" it does what its way is about; then, for each line on stdin, it prints gc.get_stats(), the thresholds, counts, whether it
is on, the frozen objects and the length of gc.garbage as one line of JSON.
"""

import gc
import json
import sys
import threading
import time


class Node:
    pass


def cycles(number):
    for _ in range(number):
        one, other = Node(), Node()
        one.other, other.other = other, one


way = sys.argv[1]
kept = []
if way == "churn":
    kept = [[number] for number in range(400_000)]
    gc.set_threshold(500, 2, 1)
elif way == "off":
    gc.disable()
    cycles(1000)
elif way == "frozen":
    kept = [[number] for number in range(20_000)]
    gc.freeze()
elif way == "garbage":
    gc.set_debug(gc.DEBUG_SAVEALL)
    cycles(50)
    gc.collect()


def work():
    while True:
        if way == "churn":
            cycles(300)
            if sys.version_info >= (3, 14):
                gc.collect()
        elif way == "floor":
            kept.extend([number] for number in range(2000))
            gc.collect()
            time.sleep(0.05)
        else:
            time.sleep(1)


threading.Thread(target=work, daemon=True).start()
print("ready", flush=True)
for line in sys.stdin:
    told = [gc.get_stats(), gc.get_threshold(), gc.get_count(), gc.isenabled(), gc.get_freeze_count(), len(gc.garbage)]
    print(json.dumps(told), flush=True)
time.sleep(3600)
