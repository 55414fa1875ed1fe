"""What each mapping has in memory: /proc/PID/smaps (proc_pid_smaps(5)), and the sums of smaps_rollup.

The kernel walks the page tables of the process for it and holds its mmap lock meanwhile: some milliseconds for a thousand mappings.
"""

from msgspec import Struct

from pellucid.kernel import procfs
from pellucid.kernel.maps import Mapping, mapping

MAX_BYTES = 1 << 28
_WANTED = ("Rss:", "Pss:", "Anonymous:", "Swap:")


class Use(Struct, frozen=True):
    """One mapping with what of it is in memory, in bytes."""

    mapping: Mapping
    rss: int
    pss: int
    anonymous: int
    swap: int

    @property
    def shared(self) -> bool:
        return "s" in self.mapping.permissions


def read(pid: int, command: str = "memory") -> tuple[Use, ...]:
    """Every mapping, lowest address first. Raises NoSuchProcess, NotPermitted."""
    try:
        text = procfs.read_file(f"/proc/{pid}/smaps", MAX_BYTES).decode("utf-8", "surrogateescape")
    except OSError as error:
        raise procfs.failed(pid, f"read /proc/{pid}/smaps", error, command) from error
    return tuple(parse(text))


def parse(text: str) -> list[Use]:
    """A head as in /proc/PID/maps begins with an address in lower case, each line below it with a name that has a capital."""
    found: list[Use] = []
    head = ""
    numbers: dict[str, int] = {}
    devices: dict[str, str] = {}
    for line in text.split("\n"):
        if line.startswith(_WANTED):
            name, _, rest = line.partition(":")
            numbers[name] = int(rest[:-3]) << 10
        elif line and not "A" <= line[0] <= "Z":
            if head:
                found.append(_use(head, numbers, devices))
            head, numbers = line, {}
    if head:
        found.append(_use(head, numbers, devices))
    return found


def _use(head: str, numbers: dict[str, int], devices: dict[str, str]) -> Use:
    return Use(
        mapping(head, devices),
        numbers.get("Rss", 0),
        numbers.get("Pss", 0),
        numbers.get("Anonymous", 0),
        numbers.get("Swap", 0),
    )


def proportional(pid: int, name: str = "Pss") -> int | None:
    """The Pss of the whole process, or its Pss_Anon (Linux 5.5); None where it may not be read, or it ended."""
    try:
        text = procfs.read_file(f"/proc/{pid}/smaps_rollup", 1 << 16)
    except OSError:
        return None
    told = procfs.parse_status(text.partition(b"\n")[2])
    return int(told[name].split()[0]) << 10 if name in told else None
