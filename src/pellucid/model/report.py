"""The JSON documents: what each command prints with --json. Keys are kept; new ones may be added."""

from msgspec import Struct

from pellucid.model.file import FileGroup, OpenFile
from pellucid.model.finding import Confidence, Finding
from pellucid.model.gap import Gap
from pellucid.model.graph import Graph
from pellucid.model.over_time import OverTime
from pellucid.model.process import Identity, Process, Variable
from pellucid.model.profile import Changed, Hot, Mode, Profile, Step, Taking
from pellucid.model.recovery import Recovered
from pellucid.model.snapshot import Cost, Peer
from pellucid.model.socket import Socket
from pellucid.model.sync import Waiting
from pellucid.model.task import AsyncTask
from pellucid.model.thread import Thread
from pellucid.model.tree import Branch

SCHEMA = 1


class Report(Struct, frozen=True, kw_only=True):
    """What every document has. `process` is None only where no single process was looked at."""

    schema: int = SCHEMA
    process: Process | None
    taken_at: float
    gaps: tuple[Gap, ...]


class StacksReport(Report, frozen=True, kw_only=True):
    threads: tuple[Thread, ...]
    cost: Cost


class TasksReport(Report, frozen=True, kw_only=True):
    tasks: tuple[AsyncTask, ...]
    cost: Cost


class StuckReport(Struct, frozen=True):
    """Threads that can never go on. `threads` are the names of `members`, which wait for each other, in the order of the waits."""

    rule: str
    confidence: Confidence
    threads: tuple[str, ...]
    members: tuple[Waiting, ...]
    sentence: str


class WaitsReport(Report, frozen=True, kw_only=True):
    """`process` is the first that was asked for; `processes` all that were looked at, also those that the waits led to.

    `reading_s`: how long the first look took, the one that reads memory; `reading_cpu_s`: CPU seconds of it. `stopped_s`: for so long JVMs
    stood still for it, in all; None where none was asked.
    """

    processes: tuple[Process, ...]
    waits: tuple[Waiting, ...]
    cycles: tuple[StuckReport, ...]
    findings: tuple[Finding, ...]
    graph: Graph
    reading_s: float
    reading_cpu_s: float = 0.0
    stopped_s: float | None = None


class FilesReport(Report, frozen=True, kw_only=True):
    files: tuple[OpenFile, ...]


class LeaksReport(FilesReport, frozen=True, kw_only=True):
    """`grown`: descriptors more than `span_s` seconds before. `limit` is None where there is none."""

    groups: tuple[FileGroup, ...]
    open_files: int
    limit: int | None
    grown: int
    span_s: float


class RecoverReport(Report, frozen=True, kw_only=True):
    """What can be copied back; after a copy, that one file."""

    files: tuple[Recovered, ...]


class SocketsReport(Report, frozen=True, kw_only=True):
    sockets: tuple[Socket, ...]


class InfoReport(Report, frozen=True, kw_only=True):
    identity: Identity


class EnvReport(Report, frozen=True, kw_only=True):
    variables: tuple[Variable, ...]


class Listed(Struct, frozen=True):
    """One row of `ps`: the process, its state in words, CPU seconds and resident bytes."""

    process: Process
    state: str
    cpu_s: float
    rss_bytes: int


class PsReport(Report, frozen=True, kw_only=True):
    processes: tuple[Listed, ...]


class TreeReport(Report, frozen=True, kw_only=True):
    branches: tuple[Branch, ...]


class WhyReport(Report, frozen=True, kw_only=True):
    findings: tuple[Finding, ...]
    threads: tuple[Thread, ...]
    peers: tuple[Peer, ...]
    cost: Cost
    over_time: OverTime | None = None


class ProfileReport(Report, frozen=True, kw_only=True):
    """`process` is the one that was asked for, None in what was made from a file of another format.

    `top`: the functions in which threads ran (or were, where the mode does not tell), most first; `waiting`: those in which they slept.
    `path`: the hottest call path, outermost first. The rest is told by `profile`, which is the whole of it.
    """

    mode: Mode
    taking: Taking
    top: tuple[Hot, ...]
    waiting: tuple[Hot, ...]
    path: tuple[Step, ...]
    profile: Profile


class ProfileDiffReport(Report, frozen=True, kw_only=True):
    """What has changed from profile `before` to `after` (their names), the largest change of own time first."""

    before: str
    after: str
    functions: tuple[Changed, ...]


class Check(Struct, frozen=True):
    """One capability of this machine for this user: `ok`, and if not, which check says no and the remedy."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""


class CheckReport(Report, frozen=True, kw_only=True):
    checks: tuple[Check, ...]
