"""Spends 60, 30 and 10 % of its CPU time in three functions, and says how much it really was: {"cpu": {"six": 0.6, ...}, "wall": ...}.

Each turn gives every function its part of 10 ms; what the clocks say was spent is what counts.
"""
import json
import sys
import time

PARTS = {"six": 0.006, "three": 0.003, "one": 0.001}
spent = {"cpu": dict.fromkeys(PARTS, 0.0), "wall": dict.fromkeys(PARTS, 0.0)}


def until(end):
    n = 0
    while time.thread_time() < end:
        n += 1
    return n


def six(end):
    until(end)


def three(end):
    until(end)


def one(end):
    until(end)


def main():
    said = time.monotonic()
    print("ready", flush=True)
    while True:
        for work in (six, three, one):
            began, wall = time.thread_time(), time.monotonic()
            work(began + PARTS[work.__name__])
            spent["cpu"][work.__name__] += time.thread_time() - began
            spent["wall"][work.__name__] += time.monotonic() - wall
        if time.monotonic() - said > 0.2:
            said = time.monotonic()
            print(json.dumps(spent), flush=True)


main()
