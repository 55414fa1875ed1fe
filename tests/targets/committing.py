"""Writes batches to a recording for ever, each a few rows and 8 KiB, and prints the number of each once it is on the disk. Usage: committing.py FILE."""

import os
import sys

from pellucid.recording.store import Store

ROWS = 5
PUT = "INSERT INTO counters (segment, process, at) VALUES (?, ?, ?)"
LOOK = "INSERT INTO look VALUES (?, 1, 'test', ?, ?, ?)"

store = Store(sys.argv[1], most_bytes=4 << 20)
number = 0
while True:
    number += 1
    if store.segment_is_full():
        store.begin_segment()
    for row in range(ROWS):
        store.add(PUT, store.segment, row, number)
    store.add(LOOK, store.serial(), number, number, os.urandom(8192))
    store.flush(wait_s=60)
    if not store.settle(60) or store.failed is not None:
        sys.exit(f"batch {number}: {store.failed}")
    print(number, flush=True)
