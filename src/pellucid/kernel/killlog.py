"""What the kernel logs when its OOM killer ends a process: a block of lines in dmesg, /dev/kmsg, a journal or a syslog.

    python invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0            who asked
    memory: usage 716800kB, limit 716800kB, failcnt 133                                        the cgroup at its limit
    [  pid  ]   uid  tgid total_vm      rss ... oom_score_adj name                             who was in reach
    oom-kill:constraint=CONSTRAINT_MEMCG,...,oom_memcg=/app,task_memcg=/app,task=python,pid=42,uid=0     (4.20)
    Memory cgroup out of memory: Killed process 42 (python) total-vm:9kB, anon-rss:9kB, ...    who was ended

mm/oom_kill.c: dump_header, dump_tasks, dump_oom_victim, __oom_kill_process; mm/memcontrol.c: mem_cgroup_print_oom_meminfo. The
table counts pages of 4096 bytes. Other lines may stand between those of a block, and each line may have a stamp before it.
"""

import os
import re

from pellucid.kernel.procfs import read_file
from pellucid.model.oom import Kill, Resident

MAX_LOG = 1 << 24
MAX_KILLS = 256
MAX_OTHERS = 5
_PAGE = 4096

_INVOKED = re.compile(r"(?:^|\s)(?P<name>\S.*?) invoked oom-killer:")
_USAGE = re.compile(r"memory: usage \d+kB, limit (?P<limit>\d+)kB")
_TASK = re.compile(
    r"\[\s*(?P<pid>\d+)\]\s+\d+\s+(?P<tgid>\d+)\s+\d+\s+(?P<rss>\d+)\s+(?:\d+\s+)*-?\d+\s+(?P<name>\S.*?)\s*$"
)
_CONSTRAINT = re.compile(r"oom-kill:constraint=(?P<constraint>\w+),.*?task=(?P<name>.*),pid=(?P<pid>\d+),uid=")
_MEMCG = re.compile(r",oom_memcg=(?P<group>.*?),task_memcg=(?P<task_group>.*?),task=")
_KILLED = re.compile(
    r"(?P<how>Memory cgroup out of memory|Out of memory[^:]*): Kill(?:ed)? process (?P<pid>\d+) \((?P<name>.*)\)(?P<sizes>,? (?:total-vm|score|UID).*)?$"
)
_SIZE = re.compile(r"(anon|file|shmem)-rss:(\d+)kB")
_STAMP = re.compile(r"^(?:\S+ +\d+ [\d:]+|\d{4}-\d\d-\d\dT\S+|<\d+>|\S+ kernel:|\s|\[[^\]]*\])*")


def kernel_log() -> str:
    """The kernel's log as far as it reaches back, its stamps as dmesg prints them. Raises OSError (EPERM: kernel.dmesg_restrict).

    Each read of /dev/kmsg gives one record, `priority,sequence,microseconds,...;text` (Documentation/ABI/testing/dev-kmsg).
    """
    fd = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    lines: list[str] = []
    size = 0
    try:
        while size < MAX_LOG:
            try:
                record = os.read(fd, 8192)
            except BlockingIOError:
                break
            except (
                BrokenPipeError
            ):  # EPIPE: records were overwritten; the next read goes on with the oldest that is left
                continue
            head, _, text = record.decode("utf-8", "replace").partition(";")
            stamp = head.split(",")[2] if head.count(",") >= 2 else "0"
            line = text.split("\n", 1)[0]
            lines.append(f"[{int(stamp) / 1e6:12.6f}] {line}" if stamp.isdecimal() else line)
            size += len(record)
    finally:
        os.close(fd)
    return "\n".join(lines)


def boot_time_of(stamp: str) -> float | None:
    """Seconds since boot of a stamp like `[  264.513091]`; None for another kind."""
    found = re.search(r"\[\s*(\d+\.\d+)\]", stamp)
    return float(found[1]) if found else None


def kills(text: str) -> tuple[Kill, ...]:
    """Every process that `text` says the OOM killer ended, in its order; at most the last MAX_KILLS."""
    found: list[Kill] = []
    block = _Block()
    for line in text.splitlines():
        kill = block.take(line)
        if kill is not None:
            found.append(kill)
    return tuple(found[-MAX_KILLS:])


class _Block:
    """What has been read of the present block; a kill ends it, but keeps its head: one block may end several processes."""

    def __init__(self) -> None:
        self._begin("")

    def _begin(self, invoked_by: str) -> None:
        self.invoked_by = invoked_by
        self.limit: int | None = None
        self.group = self.task_group = ""
        self.tasks: dict[int, Resident] = {}
        self.lines: list[str] = []

    def take(self, line: str) -> Kill | None:
        bare = _STAMP.sub("", line)
        if found := _INVOKED.search(bare):
            self._begin(found["name"])
            self.lines.append(line.strip())
        elif found := _USAGE.search(bare):
            self.limit = int(found["limit"]) * 1024
            self.lines.append(line.strip())
        elif "oom-kill:" in bare and (found := _CONSTRAINT.search(bare)):
            groups = _MEMCG.search(bare)
            if groups:
                self.group, self.task_group = groups["group"], groups["task_group"]
            if found["constraint"] != "CONSTRAINT_MEMCG":
                self.group = ""
        elif found := _KILLED.search(bare):
            return self._kill(found, line)
        elif (found := _TASK.search(line)) and found["pid"] != "0":
            self.tasks[int(found["pid"])] = Resident(int(found["tgid"]), found["name"], int(found["rss"]) * _PAGE)
        return None

    def _kill(self, found: re.Match[str], line: str) -> Kill:
        pid = int(found["pid"])
        sizes = {name: int(value) * 1024 for name, value in _SIZE.findall(found["sizes"] or "")}
        in_group = found["how"].startswith("Memory cgroup")
        others = sorted((one for one in self.tasks.values() if one.pid != pid), key=lambda one: -one.resident_bytes)
        stamp = _STAMP.match(line)
        return Kill(
            pid=pid,
            name=found["name"],
            at=stamp[0].strip() if stamp else "",
            cgroup=(self.group or "?") if in_group else "",
            task_cgroup=self.task_group,
            anon_bytes=sizes.get("anon"),
            file_bytes=sizes.get("file"),
            shmem_bytes=sizes.get("shmem"),
            limit_bytes=self.limit if in_group else None,
            invoked_by=self.invoked_by,
            others=tuple(others[:MAX_OTHERS]),
            whole_group="cgroup" in found["how"] and "oom.group" in found["how"],
            lines=(*self.lines[-2:], line.strip()),
        )


def boot_time() -> float:
    """Seconds since the epoch at which the stamps of the kernel's log begin (/proc/stat, btime)."""
    for line in read_file("/proc/stat", 1 << 20).decode().splitlines():
        if line.startswith("btime "):
            return float(line[6:])
    return 0.0
