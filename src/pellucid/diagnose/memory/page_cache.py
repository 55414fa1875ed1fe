"""Most of it is not the process's own: pages of files, which the kernel takes back when it needs them, or memory shared with others."""

from collections.abc import Iterator

from pellucid.diagnose.memory.growth import certainty, evidence, grows, speed
from pellucid.diagnose.sizes import size
from pellucid.model import Finding, Ref
from pellucid.model.memory import MemorySeen

_BYTES, _SHARE = 32 << 20, 0.5


def is_page_cache_or_shared(seen: MemorySeen) -> Iterator[Finding]:
    yield from _files(seen)
    yield from _shared(seen)
    yield from _cache_of_the_group(seen)


def _files(seen: MemorySeen) -> Iterator[Finding]:
    if not seen.samples:
        return
    pid, last, line = seen.process.pid, seen.samples[-1], seen.trend("files")
    whole = last.rss_anon_bytes + last.rss_file_bytes + last.rss_shmem_bytes
    if not grows(line) and (last.rss_file_bytes < _BYTES or last.rss_file_bytes < _SHARE * whole):
        return
    growing = f", and they grow by {speed(line)}" if line is not None and grows(line) else ""
    yield Finding(
        rule="page-cache",
        severity="info",
        title=f"page cache: {size(last.rss_file_bytes)} of its {size(whole)} are pages of mapped files{growing}",
        sentence=f"They are no leak: the kernel takes them back when memory is short, and other processes share them{_named(seen, 'files')}."
        f" Its own memory is {size(last.rss_anon_bytes)}.",
        evidence=(
            Ref(
                source=f"/proc/{pid}/status",
                said=f"RssFile {last.rss_file_bytes >> 10} kB, RssAnon {last.rss_anon_bytes >> 10} kB",
            ),
        ),
        next=(),
        confidence="certain",
    )


def _shared(seen: MemorySeen) -> Iterator[Finding]:
    if not seen.samples:
        return
    pid, last, line = seen.process.pid, seen.samples[-1], seen.trend("shared")
    whole = last.rss_anon_bytes + last.rss_file_bytes + last.rss_shmem_bytes
    growing = line is not None and grows(line)
    if not growing and (last.rss_shmem_bytes < _BYTES or last.rss_shmem_bytes < _SHARE * whole):
        return
    open_end, too_short = certainty(seen)
    speed_words = f"{open_end}, growing by {speed(line)}" if growing and line is not None else ""
    yield Finding(
        rule="shared-memory",
        severity="warning" if growing else "info",
        title=f"shared memory: {size(last.rss_shmem_bytes)} of its {size(whole)} are shared{speed_words}",
        sentence=f"It belongs to /dev/shm, memfd or shared anonymous mappings{_named(seen, 'shared')}: it stays until the last process lets go, and in"
        f" /dev/shm until it is unlinked. It counts for the cgroup that touched it first.{too_short if growing else ''}",
        evidence=(
            Ref(source=f"/proc/{pid}/status", said=f"RssShmem {last.rss_shmem_bytes >> 10} kB"),
            *((evidence(line, "RssShmem", pid),) if growing and line is not None else ()),
        ),
        next=("df -h /dev/shm", f"pellucid files {pid}"),
        confidence="certain" if not growing else "possible" if open_end else "likely",
    )


def _cache_of_the_group(seen: MemorySeen) -> Iterator[Finding]:
    for group in seen.groups:
        fill, cache = group.fill, group.file_bytes or 0
        if fill is None or fill < 0.8 or cache < _SHARE * group.current_bytes:
            continue
        yield Finding(
            rule="page-cache",
            severity="info",
            title=f"page cache: cgroup {group.path} looks {100 * fill:.0f} % full, but {size(cache)} of it are cached files",
            sentence="They are taken back before anything is killed: what a dashboard shows as used is not what is needed.",
            evidence=(Ref(source=group.folder, said=f"{group.current_bytes} bytes, of them file {cache}"),),
            next=(),
            confidence="certain",
        )
        return


def _named(seen: MemorySeen, kind: str) -> str:
    detail = next((part.detail for part in seen.last.parts if part.kind == kind), "") if seen.last else ""
    return f" ({detail})" if detail else ""
