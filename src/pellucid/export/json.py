"""The reports as JSON, and the JSON schema made from their types. Keys are fixed; `"schema": 1` stands in every document."""

from typing import Any

import msgspec

from pellucid.inert import inert_json
from pellucid.model import report
from pellucid.model.allocated import TracemallocReport
from pellucid.model.collector_report import CollectorReport, CollectorWatchReport
from pellucid.model.errors import LookError, PellucidError
from pellucid.model.gc import GcReport
from pellucid.model.gc_log import GcLogReport
from pellucid.model.heap import HeapDiffReport, HeapReport
from pellucid.model.heap_jvm import JavaHeapDiffReport, JavaHeapReport, JavaObjectsReport
from pellucid.model.memory import MemoryReport
from pellucid.model.oom import OomReport
from pellucid.model.output import OutputReport
from pellucid.model.recording import CallsReport, RecordingReport
from pellucid.model.syscalls import SyscallsReport

REPORTS: dict[str, type[report.Report]] = {
    "why": report.WhyReport,
    "stacks": report.StacksReport,
    "stacks --tasks": report.TasksReport,
    "waits": report.WaitsReport,
    "files": report.FilesReport,
    "recover": report.RecoverReport,
    "output": OutputReport,
    "sockets": report.SocketsReport,
    "info": report.InfoReport,
    "env": report.EnvReport,
    "ps": report.PsReport,
    "ps --tree": report.TreeReport,
    "profile": report.ProfileReport,
    "profile diff": report.ProfileDiffReport,
    "heap": HeapReport,
    "heap diff": HeapDiffReport,
    "check": report.CheckReport,
    "syscalls": SyscallsReport,
    "oom": OomReport,
    "memory": MemoryReport,
    "memory --inside-tracemalloc": TracemallocReport,
    "gc": CollectorReport,
    "gc of Python": GcReport,
    "gc --watch": CollectorWatchReport,
    "gc LOG": GcLogReport,
    "record": RecordingReport,
    "replay": RecordingReport,
    "replay FILE syscalls": CallsReport,
    "heap PID of a JVM": JavaHeapReport,
    "heap --type": JavaObjectsReport,
    "heap diff of dumps": JavaHeapDiffReport,
}


def encode(document: report.Report) -> bytes:
    """One line of JSON, ending in a newline."""
    return inert_json(msgspec.json.encode(document)) + b"\n"


def encode_error(error: PellucidError) -> bytes:
    """`{"schema": 1, "error": {"code", "tried", "said", "remedy", ...}}`; a LookError adds pid, path and errno."""
    told: dict[str, Any] = {"code": error.code, "tried": error.tried, "said": error.said, "remedy": error.remedy}
    if isinstance(error, LookError):
        told |= {"pid": error.pid, "path": error.path, "errno": error.errno}
    return inert_json(msgspec.json.encode({"schema": report.SCHEMA, "error": told})) + b"\n"


def schema(command: str) -> bytes:
    """The JSON schema (2020-12) of what `command --json` prints. KeyError for a command without one."""
    return msgspec.json.format(msgspec.json.encode(msgspec.json.schema(REPORTS[command])), indent=2) + b"\n"
