"""os.environ as the program sees it: sys.modules["os"].environ, an os._Environ whose `_data` is a dict of bytes (Lib/os.py, 3.11 to 3.15).

Usually it agrees with what the C library has, since each change of it calls putenv(3). A program that has replaced it by another dict,
or a library that called setenv(3) itself, has two environments: Python code goes by this one, C code and children by the other.
"""

from pellucid.runtimes.cpython.objects import Objects
from pellucid.runtimes.cpython.process import CPython

MAX_TEXT = 1 << 17
MAX_VARIABLES = 1 << 14


def environ(python: CPython) -> dict[str, str] | None:
    """Names and values; None where `os` is not imported, or its environ is of a kind that is not known. Raises Unreadable."""
    objects = python.objects
    objects.forget()
    for interpreter in python.interpreters[-1:] or ():  # the main one is the last of the list
        modules = objects.pages.u64(interpreter.address + objects.layout["interpreter_state.imports_modules"])
        module = objects.item(modules, "os") if modules else None
        if module is None:
            return None
        space = objects.pages.u64(module + objects.layout["module_object.md_dict"])
        found = objects.item(space, "environ") if space else None
        return _pairs(objects, found) if found else None
    return None


def _pairs(objects: Objects, found: int) -> dict[str, str] | None:
    kind = objects.type_name(objects.type_of(found)).rpartition(".")[2]
    held = objects.attribute(found, "_data") if kind == "_Environ" else found if kind == "dict" else None
    if held is None:
        return None
    pairs: dict[str, str] = {}
    for key, value in objects.items(held):
        if len(pairs) >= MAX_VARIABLES:
            break
        name, text = _text(objects, key), _text(objects, value)
        if name is None or text is None:
            return None
        pairs[name] = text
    return pairs


def _text(objects: Objects, address: int) -> str | None:
    kind = objects.type_name(objects.type_of(address))
    if kind == "bytes":
        return objects.data(address, MAX_TEXT).decode("utf-8", "replace")
    return objects.text(address, MAX_TEXT) if kind == "str" else None
