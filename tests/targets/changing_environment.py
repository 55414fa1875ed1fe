"""Changes its environment after its start, then waits; `moving`: for ever. `replaced`: os.environ is another dict. Prints "ready"."""
import os, sys, time

os.environ["ANSWER"] = "43"
os.environ["ADDED"] = "x" * 3000
os.environ["SIGNING_KEY"] = "another"
del os.environ["DROPPED"]
if sys.argv[1:] == ["replaced"]:
    os.environ = dict(os.environ, ANSWER="44", ONLY_PYTHON="1", SIGNING_KEY="a third")
    del os.environ["KEPT"]
print("ready", flush=True)
number = 0
while sys.argv[1:] == ["moving"]:
    number += 1
    for one in range(50):
        os.environ["MORE_%d" % one] = "y" * (number % 100)
    for one in range(50):
        del os.environ["MORE_%d" % one]
    time.sleep(0.002)
time.sleep(100)
