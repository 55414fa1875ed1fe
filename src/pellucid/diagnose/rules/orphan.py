"""A worker of multiprocessing whose parent is gone: it was given to init or to a subreaper (prctl(2), PR_SET_CHILD_SUBREAPER).

Nobody sends it work or takes its results any more. Told by its stack (Lib/multiprocessing/process.py, BaseProcess._bootstrap runs
only in children) or by the command line that multiprocessing starts children with (Lib/multiprocessing/spawn.py, 3.13); a parent
that is itself a Python program is left alone: in a container the real parent may be pid 1.
"""

from collections.abc import Iterator

from pellucid.diagnose import words
from pellucid.diagnose.parents import is_a_child_of_multiprocessing, reaps
from pellucid.model import Finding, Ref, Snapshot


def lost_its_parent(seen: Snapshot) -> Iterator[Finding]:
    parent = seen.resources.parent
    if parent is None or seen.process.state == "zombie" or not reaps(parent):
        return
    how = is_a_child_of_multiprocessing(seen)
    if how is None:
        return
    pid = seen.process.pid
    yield Finding(
        rule="orphan",
        severity="warning",
        title=f"pid {pid} is a multiprocessing worker without its parent",
        sentence=f"The process that started it has ended without ending it; its parent is now {words.called(parent)}, which neither gives it work "
        f"nor takes its results.",
        evidence=(Ref(source=f"/proc/{pid}/stat", said=f"parent {parent.pid} ({parent.name})"), how),
        next=(f"pellucid stacks {pid}", f"kill {pid}"),
        confidence="likely",  # a program may have meant its worker to live on
    )
