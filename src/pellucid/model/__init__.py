"""The nouns. Frozen values that every room speaks in; nothing of ours is imported from here but its own files."""

from pellucid.model.file import FileGroup, FileLock, OpenFile
from pellucid.model.finding import CONFIDENCES, SEVERITIES, Confidence, Finding, Ref, Severity
from pellucid.model.gap import Gap
from pellucid.model.over_time import Calls, Descriptors, MemoryGrowth, Opener, OverTime, RepeatedError
from pellucid.model.process import Identity, Limit, Process, Variable
from pellucid.model.recovery import Recovered
from pellucid.model.resources import Disk, LockWait, Resources, SqliteLock, UnservedPort
from pellucid.model.snapshot import Cost, Peer, Snapshot
from pellucid.model.socket import Socket, Tcp, Timer
from pellucid.model.thread import Call, Frame, Seen, Stack, Task, Thread
from pellucid.model.wait import Holder, Wait, WaitKind, Watched

__all__ = [
    "CONFIDENCES",
    "SEVERITIES",
    "Call",
    "Calls",
    "Confidence",
    "Cost",
    "Descriptors",
    "Disk",
    "FileGroup",
    "FileLock",
    "Finding",
    "Frame",
    "Gap",
    "Holder",
    "Identity",
    "Limit",
    "LockWait",
    "MemoryGrowth",
    "OpenFile",
    "Opener",
    "OverTime",
    "Peer",
    "Process",
    "Recovered",
    "Ref",
    "RepeatedError",
    "Resources",
    "Seen",
    "Severity",
    "Snapshot",
    "Socket",
    "SqliteLock",
    "Stack",
    "Task",
    "Tcp",
    "Thread",
    "Timer",
    "UnservedPort",
    "Variable",
    "Wait",
    "WaitKind",
    "Watched",
]
