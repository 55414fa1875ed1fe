"""A memory cgroup with a limit, of version 2 or 1, whichever is on this machine; gone again afterwards."""

import contextlib
import os
import time
from pathlib import Path

import pytest


@contextlib.contextmanager
def limited(name, size):
    """Its folder, named `NAME-<our pid>`; skips where none can be made."""
    for parent, file in (
        (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"),
        (Path("/sys/fs/cgroup"), "memory.max"),
    ):
        if not (parent / "cgroup.procs").exists():
            continue
        folder = parent / f"{name}-{os.getpid()}"
        try:
            folder.mkdir()
            (folder / file).write_text(str(size))
            if (folder / "memory.swap.max").exists():
                (folder / "memory.swap.max").write_text("0")
        except OSError as error:
            with contextlib.suppress(OSError):
                folder.rmdir()
            pytest.skip(f"no memory cgroup can be made here: {error}")
        try:
            yield folder
        finally:
            for _ in range(100):
                with contextlib.suppress(OSError):
                    folder.rmdir()
                    break
                time.sleep(0.05)
        return
    pytest.skip("there is no cgroup with a memory controller on this machine")
