"""Holds `RECORDS` small dicts with a text each, prints "ready BLOCKS" with sys.getallocatedblocks(), and sleeps."""
import sys, time

held = [{"number": number, "text": str(number)} for number in range(int(sys.argv[1]))]
print("ready", sys.getallocatedblocks(), flush=True)
time.sleep(3600)
