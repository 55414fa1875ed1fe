"""The looks that a person asked for: each is `pellucid ... --json`, a process of its own, whose answer is kept for a while.

The page shows the command line that runs here. What runs can be stopped (SIGINT, which keeps what was seen until then), and what it takes is
not taken from the page. A recording is found again by a tab that was closed meanwhile.
"""

import asyncio
import os
import secrets
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable

import msgspec
from msgspec import Struct

from pellucid.inert import inert, lines
from pellucid.model.errors import PellucidError, UsageError
from pellucid.model.profile import Profile
from pellucid.present.view.actions import ACTIONS, LEAST_S, MOST_S, Asked, shell
from pellucid.present.view.told import Failed

AT_ONCE = 3
KEPT = 40
KEPT_BYTES = 256 << 20
KEPT_FILES = 4 << 30
"""Bytes of snapshots and dumps."""
MOST_BYTES = 64 << 20
"""Of one answer."""
MOST_TEXT = 1 << 20
"""Characters of captured output; what came first is dropped, and counted."""
_GRACE_S = 10.0
"""How long one that was interrupted may take to give what it has."""
_TELL_S = 0.25
_FILES = {"heap": ".heap", "dump": ".hprof"}
"""What some looks leave, by the end of its name."""


class JobRow(Struct, frozen=True):
    """A job as a list shows it. `state`: running, done, failed. `about`: what its answer is, in a few words."""

    id: str
    pid: int
    action: str
    title: str
    shell: str
    state: str
    began_at: float
    ended_at: float | None
    seconds: float | None
    about: str
    failed: Failed | None
    mode: str = ""
    host: str = ""
    file: bool = False
    """A saved snapshot can be taken away."""


class Job:
    """One look. `result`: the JSON document; `profile`, `text` and `file` (a saved snapshot) where the action gives one."""

    def __init__(self, pid: int, asked: Asked, folder: str) -> None:
        self.id = secrets.token_hex(8)
        self.pid = pid
        self.asked = asked
        self.action = ACTIONS[asked.action]
        self.shell = shell(pid, asked)
        self.began_at = time.time()
        self.ended_at: float | None = None
        self.state = "running"
        self.failed: Failed | None = None
        self.result = b""
        self.profile: Profile | None = None
        self.text = ""
        self.dropped = 0
        self.about = ""
        self.file = os.path.join(folder, f"{self.id}{_FILES[asked.action]}") if asked.action in _FILES else ""
        self.process: asyncio.subprocess.Process | None = None
        self.stopped = False
        """Somebody has stopped it, maybe before its process was there."""
        self.task: asyncio.Task[None] | None = None

    @property
    def size(self) -> int:
        return len(self.result) + len(self.text)

    def row(self) -> JobRow:
        return JobRow(
            id=self.id,
            pid=self.pid,
            action=self.asked.action,
            title=self.action.title,
            shell=self.shell,
            state=self.state,
            began_at=self.began_at,
            ended_at=self.ended_at,
            seconds=self.asked.seconds if self.action.timed else None,
            about=self.about,
            failed=self.failed,
            mode=self.asked.mode if self.asked.action == "profile" else "",
            host=self.asked.host,
            file=self.state == "done" and bool(self.file) and os.path.exists(self.file),
        )


class Jobs:
    """All of them, oldest first. `changed` is called whenever a list would look different."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self.all: dict[str, Job] = {}
        self.version = 0
        self._changed = changed
        self._folder = tempfile.mkdtemp(prefix="pellucid-web-")
        self._told = 0.0

    def running(self) -> list[Job]:
        """Those that have not ended."""
        return [job for job in self.all.values() if job.state == "running"]

    def start(self, pid: int, asked: Asked, *, java: bool = False) -> Job:
        """One more look, or the one of that kind that runs for that process already. Raises UsageError."""
        for job in self.running():
            if (job.pid, job.asked.host, job.asked.action) == (pid, asked.host, asked.action):
                return job  # asked for twice: a double click, or another tab
        if len(self.running()) >= AT_ONCE:
            raise UsageError(
                tried=f"run `{shell(pid, asked)}`",
                said=f"{AT_ONCE} looks run already",
                remedy="wait for one, or stop it",
            )
        if not LEAST_S <= asked.seconds <= MOST_S:
            raise UsageError(
                tried=f"look for {asked.seconds:g} s",
                said=f"it may be {LEAST_S:g} to {MOST_S:g}",
                remedy="run the command in a terminal, where it goes on until Ctrl-C",
            )
        job = Job(pid, asked, self._folder)
        if java and asked.action == "heap":
            job.file = ""  # its histogram is no snapshot
        job.task = asyncio.get_running_loop().create_task(self._run(job, self._words(job)))
        self.all[job.id] = job
        self._forget()
        self._tell()
        return job

    def _words(self, job: Job) -> list[str]:
        asked = job.asked
        if asked.action == "heap-diff":
            files = [self.all[one].file if one in self.all else "" for one in (asked.before, asked.after)]
            if not all(os.path.exists(file) for file in files):
                raise UsageError(
                    tried="compare two snapshots", said="one of them is not kept any more", remedy="take another one"
                )
            words = ["heap", "diff", *files]
        else:
            words = [*job.action.words(str(job.pid), asked)]
            if job.file:
                words += ["--save", job.file]
            if asked.host:
                words += ["--host", asked.host]
        return [sys.executable, "-P", "-m", "pellucid", *words, *job.action.machine]

    async def _run(self, job: Job, words: list[str]) -> None:
        try:
            await self._answer(job, words)
        except OSError as error:
            job.failed = Failed("error", f"run `{job.shell}`", str(error), "run it in a terminal")
        except PellucidError as error:
            job.failed = Failed(error.code, error.tried, error.said, error.remedy)
        finally:
            job.process = None
            job.ended_at = time.time()
            job.state = "failed" if job.failed else "done"
            self._tell()

    async def _answer(self, job: Job, words: list[str]) -> None:
        """Runs the command and takes its answer apart."""
        pipe = asyncio.subprocess.PIPE
        job.process = await asyncio.create_subprocess_exec(
            *words, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe, cwd="/", start_new_session=True
        )
        process = job.process
        if job.stopped:
            self._interrupt(process)
        assert process.stdout is not None
        assert process.stderr is not None
        said = asyncio.create_task(process.stderr.read(1 << 16))
        content = await self._read(job, process.stdout)
        status = await process.wait()
        told = (await said).decode("utf-8", "replace")
        if job.action.machine == ("--json",):
            job.result = content
            job.failed = _error(content) if status else None
        if status not in {0, 6, 130} and job.failed is None and not job.stopped:
            job.failed = _three_lines(told, job.shell, status)
        if job.stopped and (not content or status < 0) and job.asked.action not in {"output", "record"}:
            job.failed = Failed(
                "interrupted",
                f"run `{job.shell}`",
                "it was stopped before it had seen anything",
                "let it run for longer",
            )
        if job.failed is None and job.asked.action == "profile":
            from pellucid.export.archive import decode

            job.profile = await asyncio.to_thread(decode, content, job.shell)
            if job.profile is not None:
                taken = job.profile.taking
                job.about = f"{job.profile.duration_ns / 1e9:.1f} s, {taken.taken} of {taken.asked} samples"
        if job.asked.action == "output":
            job.about = inert(told.strip().splitlines()[0].removeprefix("pellucid: ")) if told.strip() else ""

    async def _read(self, job: Job, stream: asyncio.StreamReader) -> bytes:
        """All of stdout; output is kept as it comes. Ends the process where it is too much."""
        parts: list[bytes] = []
        size = 0
        while part := await stream.read(1 << 16):
            if job.asked.action == "output":
                self._print(job, part.decode("utf-8", "replace"))
                continue
            size += len(part)
            if size > MOST_BYTES:
                assert job.process is not None
                job.process.kill()
                raise UsageError(
                    tried=f"run `{job.shell}`",
                    said=f"its answer has more than {MOST_BYTES >> 20} MB",
                    remedy="run it in a terminal",
                )
            parts.append(part)
        return b"".join(parts)

    def _print(self, job: Job, text: str) -> None:
        job.text += lines(text)
        if len(job.text) > MOST_TEXT:
            job.dropped += len(job.text) - MOST_TEXT
            job.text = job.text[-MOST_TEXT:]
        if time.monotonic() - self._told > _TELL_S:
            self._tell()

    def stop(self, name: str) -> bool:
        """Interrupt one that runs; it gives what it has. False where there is none."""
        job = self.all.get(name)
        if job is None or job.state != "running":
            return False
        job.stopped = True
        if job.process is not None:
            self._interrupt(job.process)
        return True

    @staticmethod
    def _interrupt(process: asyncio.subprocess.Process) -> None:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
            asyncio.get_running_loop().call_later(_GRACE_S, _kill, process)

    def _forget(self) -> None:
        """The oldest, where there are too many or they are too large."""
        done = [job for job in self.all.values() if job.state != "running"]
        while done and (
            len(self.all) > KEPT
            or sum(job.size for job in self.all.values()) > KEPT_BYTES
            or self._files() > KEPT_FILES
        ):
            old = done.pop(0)
            del self.all[old.id]
            if old.file and os.path.exists(old.file):
                os.unlink(old.file)

    def _files(self) -> int:
        """Bytes of what looks have left."""
        with os.scandir(self._folder) as entries:
            return sum(entry.stat().st_size for entry in entries)

    def _tell(self) -> None:
        self._told = time.monotonic()
        self.version += 1
        self._changed()

    async def close(self) -> None:
        """End what runs, and remove what was kept in files."""
        running = [job for job in self.all.values() if job.process is not None]
        for job in running:
            self.stop(job.id)
        tasks = [job.task for job in running if job.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=2.0)
        for job in running:
            if job.process is not None:
                _kill(job.process)
        shutil.rmtree(self._folder, ignore_errors=True)


def _kill(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()


def _error(content: bytes) -> Failed | None:
    """The error of a document that holds one."""
    try:
        document = msgspec.json.decode(content)
        error = document.get("error")
        if error is None:
            return None
        return Failed(*(inert(str(error[key])) for key in ("code", "tried", "said", "remedy")))
    except (msgspec.DecodeError, AttributeError, KeyError):
        return None


def _three_lines(told: str, command: str, status: int) -> Failed:
    """What a command said on stderr: its three lines where it has some."""
    found = {}
    for line in told.splitlines():
        for mark, key in (("pellucid: can't ", "tried"), ("  why: ", "said"), ("  try: ", "remedy")):
            if line.startswith(mark):
                found[key] = line.removeprefix(mark)
    last = told.strip().splitlines()[-1:] or [f"it ended with status {status}"]
    return Failed(
        "error",
        inert(found.get("tried", f"run `{command}`")),
        inert(found.get("said", last[0]))[:500],
        inert(found.get("remedy", "run it in a terminal")),
    )
