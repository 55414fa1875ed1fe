"""CPython 3.11 to 3.15, read from outside while it runs. `attach(pid)`, then `read()` as often as wanted."""

from pellucid.runtimes.cpython.process import CPython
from pellucid.runtimes.cpython.recognise import attach

__all__ = ["CPython", "attach"]
