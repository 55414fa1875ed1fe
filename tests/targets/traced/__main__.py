"""A program that tells what it finds around itself, to be compared with what it finds when it runs alone."""

import json
import os
import pickle
import sys
import threading


class Pickled:
    def __eq__(self, other):
        return isinstance(other, Pickled)


def small():
    pass


def many():
    for _ in range(20_000):
        small()


def few():
    total = 0
    for number in range(400_000):
        total += number
    return total


def in_thread():
    for _ in range(1_000):
        abs(1)


def main():
    thread = threading.Thread(target=in_thread, name="worker")
    thread.start()
    many()
    few()
    thread.join()
    module = sys.modules["__main__"]
    spec = getattr(module, "__spec__", None)
    print(
        json.dumps(
            {
                "argv": sys.argv,
                "path": sys.path[:3],
                "name": __name__,
                "file": globals().get("__file__"),
                "package": __package__,
                "spec": spec and spec.name,
                "orig_argv": getattr(sys, "orig_argv", None),
                "flags": str(sys.flags),
                "main": module.__dict__ is globals(),
                "pickled": pickle.loads(pickle.dumps(Pickled())) == Pickled(),
                "directory": os.getcwd(),
                "environment": sorted(name for name in os.environ if "PELLUCID" in name.upper()),
                "stdin": sys.stdin.read(),
                "own modules": sorted(name for name in sys.modules if "pellucid" in name),
            }
        )
    )
    sys.exit(3)


if __name__ == "__main__":
    main()
