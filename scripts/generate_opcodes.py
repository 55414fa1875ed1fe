"""Writes src/pellucid/runtimes/cpython/layouts/opcodes.py: the instructions of each CPython that the search for `lock.acquire()` knows.

    python scripts/generate_opcodes.py

Asked of the interpreters of this machine (tests/interpreters.py), by their own `dis`: the number of each instruction, those of its
specialised forms, and how many code units of inline cache follow it.
"""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT / "src" / "pellucid" / "runtimes" / "cpython" / "layouts" / "opcodes.py"

ASK = """
import dis, json, opcode
names = dict(getattr(dis, "_all_opmap", opcode.opmap))
base = getattr(dis, "deoptmap", {})
caches = opcode._inline_cache_entries
count = lambda name: caches.get(name, 0) if hasattr(caches, "get") else caches[opcode.opmap[name]] if name in opcode.opmap else 0
wanted = ("LOAD_FAST", "LOAD_FAST_CHECK", "LOAD_FAST_BORROW", "LOAD_FAST_BORROW_LOAD_FAST_BORROW", "LOAD_FAST_LOAD_FAST", "LOAD_DEREF",
          "LOAD_GLOBAL", "LOAD_NAME", "LOAD_ATTR", "LOAD_METHOD", "PRECALL", "CALL", "CALL_KW", "EXTENDED_ARG", "PUSH_NULL")
found = {name: [] for name in wanted if name in opcode.opmap}
units = {}
for name, number in names.items():
    if number > 255:
        continue
    plain = base.get(name, name)
    if plain in found:
        found[plain].append(number)
    if count(plain):
        units[number] = count(plain)
print(json.dumps({"numbers": {name: sorted(numbers) for name, numbers in found.items()}, "caches": units}))
"""


def main() -> int:
    sys.path.insert(0, str(ROOT / "tests"))
    import interpreters

    tables = {}
    for python in interpreters.find():
        if python.version in interpreters.EXPECTED:
            told = subprocess.run([python.path, "-c", ASK], capture_output=True, text=True, check=True).stdout
            tables[python.minor] = json.loads(told)
    FILE.write_text("\n".join(lines(tables)) + "\n")
    return 0


def lines(tables: dict[int, dict[str, dict[str, list[int]]]]) -> list[str]:
    text = [
        '"""Instructions of CPython 3.11 and later, made by scripts/generate_opcodes.py from their own `dis`; never edited by hand."""',
        "",
        "NUMBERS: dict[int, dict[str, tuple[int, ...]]] = {",
    ]
    for minor, table in tables.items():
        text.append(f"    {minor}: {{")
        text += (f'        "{name}": {tuple(numbers)},' for name, numbers in table["numbers"].items())
        text.append("    },")
    text += ["}", '"""Minor version → instruction → its number, and those of its specialised forms."""', ""]
    text.append("CACHES: dict[int, dict[int, int]] = {")
    for minor, table in tables.items():
        units = ", ".join(
            f"{number}: {count}" for number, count in sorted(table["caches"].items(), key=lambda item: int(item[0]))
        )
        text.append(f"    {minor}: {{{units}}},")
    text += ["}", '"""Minor version → number of an instruction → code units of inline cache after it."""']
    return text


if __name__ == "__main__":
    sys.exit(main())
