"""Almost all descriptors that it may have are open: at the limit, open(2), accept(2), pipe(2), ... fail with EMFILE (getrlimit(2), RLIMIT_NOFILE).

What most of them are says where to look for the leak; that they are near the limit is no proof of one, so that is not said.
"""

from collections.abc import Iterator

from pellucid.model import FileGroup, Finding, Ref, Snapshot

_NEAR = 0.9


def runs_out_of_descriptors(seen: Snapshot) -> Iterator[Finding]:
    count, limit = seen.resources.open_files, seen.resources.file_limit
    if count is None or not limit or count < _NEAR * limit:
        return
    pid = seen.process.pid
    full = count >= limit
    most = seen.resources.groups[:2]
    yield Finding(
        rule="descriptors",
        severity="critical" if full else "warning",
        title=f"{count} of {limit} descriptors are open",
        sentence=f"pid {pid} has {count} descriptors open and may have {limit}"
        + (
            ": whatever needs one more fails now with EMFILE (Too many open files)."
            if full
            else f", so {limit - count} more can be opened before calls fail with EMFILE."
        )
        + (f" {'; '.join(_told(group) for group in most)}." if most else ""),
        evidence=(
            Ref(source=f"/proc/{pid}/fd", said=f"{count} entries"),
            Ref(source=f"/proc/{pid}/limits", said=f"Max open files {limit}"),
        ),
        next=(f"pellucid files --leaks {pid}",),
        confidence="certain",
    )


def _told(group: FileGroup) -> str:
    return f"{group.count} are {group.what}"
