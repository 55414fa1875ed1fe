"""Changes its environment after its start, then waits; `moving`: for ever. Prints "ready"."""
import os, sys, time

os.environ["ANSWER"] = "43"
os.environ["ADDED"] = "x" * 3000
os.environ["SIGNING_KEY"] = "another"
del os.environ["DROPPED"]
print("ready", flush=True)
number = 0
while sys.argv[1:] == ["moving"]:
    number += 1
    os.environ["MORE_%d" % (number % 2000)] = "y" * (number % 100)
    if number % 2000 == 0:
        for name in [name for name in os.environ if name.startswith("MORE_")]:
            del os.environ[name]
time.sleep(100)
