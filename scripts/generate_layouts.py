"""Writes src/pellucid/runtimes/cpython/layouts/v3_*.py: where the fields of CPython's structs lie, one file a minor version.

    python scripts/generate_layouts.py [PYTHON ...] [-o FOLDER]

Each PYTHON is an interpreter with its headers beside it; without any, those of this machine (tests/interpreters.py) for all
versions that have a table. Offsets come from scripts/layouts.c, compiled against these headers; the order of the fields that
3.13 and later publish in memory (struct _Py_DebugOffsets) from the header that declares it. Needs a C compiler.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "src" / "pellucid" / "runtimes" / "cpython" / "layouts"
DECLARED_IN = ("pycore_debug_offsets.h", "pycore_runtime.h")  # the first from 3.14 on


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("pythons", nargs="*", metavar="PYTHON", help="interpreters, by default those of this machine")
    parser.add_argument("-o", dest="folder", type=Path, default=FOLDER, help="by default %(default)s")
    options = parser.parse_args()
    for python in options.pythons or found_here():
        version, include, platform_include = ask(python)
        minor = version.split(".")[1]
        path = options.folder / f"v3_{minor}.py"
        path.write_text(table(version, published(include / "internal"), offsets([include, platform_include])))
        print(f"{path}: from {include}")
    return 0


def found_here() -> list[str]:
    sys.path.insert(0, str(ROOT / "tests"))
    import interpreters

    return [python.path for python in interpreters.find() if python.version in interpreters.EXPECTED]


def ask(python: str) -> tuple[str, Path, Path]:
    """The version of an interpreter and its two folders of headers."""
    program = "import sys, sysconfig as s; print(*map(str, sys.version_info[:3]), sep='.')\n"
    program += "print(s.get_path('include')); print(s.get_path('platinclude'))"
    told = subprocess.run([python, "-c", program], capture_output=True, text=True, check=True).stdout.splitlines()
    return told[0], Path(told[1]), Path(told[2])


def offsets(includes: list[Path]) -> dict[str, int]:
    """What layouts.c prints. Debian's pyconfig.h includes another one by a path below the parent of `includes`."""
    folders = [*includes, includes[0] / "internal", includes[0].parent]
    with tempfile.TemporaryDirectory() as scratch:
        program = f"{scratch}/layouts"
        # -O1 and no definition of Python's functions: nothing of it is called, so that nothing has to be linked.
        command = [
            "cc",
            "-w",
            "-O1",
            *(f"-I{folder}" for folder in folders),
            "-o",
            program,
            str(ROOT / "scripts/layouts.c"),
        ]
        subprocess.run(command, check=True)
        printed = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    return {name: int(value) for name, value in (line.split() for line in printed.splitlines())}


def published(internal: Path) -> list[str]:
    """The fields of _Py_DebugOffsets after its cookie, in order, as `group.field`; none before 3.13."""
    for name in DECLARED_IN:
        text = (internal / name).read_text() if (internal / name).exists() else ""
        declared = re.search(r"typedef struct _Py_DebugOffsets \{(.*?)\n\} _Py_DebugOffsets;", text, re.DOTALL)
        if declared:
            return list(fields(declared[1]))
    return []


def fields(body: str) -> list[str]:
    found: list[str] = []
    group: list[str] | None = None
    for line in body.splitlines():
        line = line.partition("//")[0].strip()
        if line.startswith("struct"):
            group = []
        elif field := re.fullmatch(r"uint64_t (\w+);", line):
            (found if group is None else group).append(field[1])
        elif end := re.fullmatch(r"\} (\w+);", line):
            found += (f"{end[1]}.{field}" for field in group or ())
            group = None
        elif line and not line.startswith("char cookie[8]"):
            raise ValueError(f"_Py_DebugOffsets has a line that is no field: {line}")
    return found


def table(version: str, order: list[str], known: dict[str, int]) -> str:
    minor = version.rpartition(".")[0]
    lines = [
        f'"""Layout of CPython {minor}, made by scripts/generate_layouts.py from the headers of {version}; never edited by hand."""',
        "",
        "PUBLISHED: tuple[str, ...] = (" + ("" if order else ")"),
        *(f'    "{name}",' for name in order),
        *([")"] if order else []),
        "",
        "OFFSETS: dict[str, int] = {",
        *(f'    "{name}": {value},' for name, value in known.items()),
        "}",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
