"""`make bench`: answer the questions, one after the other, and write what was measured to benchmarks/RESULTS.md.

A question that fails keeps its old section, is told on stderr, and makes the whole end with 1.
"""

import importlib
import sys

from benchmarks import harness

QUESTIONS = (
    "startup",
    "dump",
    "waits",
    "files",
    "sockets",
    "syscalls",
    "output",
    "profile",
    "recorder",
    "memory",
    "heap",
    "jvm",
    "inside",
    "web",
    "serve",
)
RESULTS = harness.here() / "benchmarks" / "RESULTS.md"
HEAD = """# Results

Written by `make bench`; `make bench ONLY=dump` renews one section. Every number is a median with its smallest and largest
value, every ratio the median of the ratios inside each round of one run. Compare ratios; milliseconds belong to the machine.
"""


def main(asked: list[str]) -> int:
    unknown = set(asked) - set(QUESTIONS)
    if unknown:
        print(f"There is no benchmark {', '.join(sorted(unknown))}; there are {', '.join(QUESTIONS)}.", file=sys.stderr)
        return 2
    failed = 0
    for question in asked or QUESTIONS:
        print(f"{question} ...", file=sys.stderr, flush=True)
        try:
            body = importlib.import_module(f"benchmarks.{question}").report()
        except harness.Failed as failure:
            print(f"{question} has no result: {failure}", file=sys.stderr)
            failed += 1
            continue
        before = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else HEAD
        RESULTS.write_text(harness.replace_section(before, question, body), encoding="utf-8")
        print(body)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
