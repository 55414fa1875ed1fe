"""What `pellucid replay` prints: the contents of a recording, and the screens of other commands as of a moment of the past."""

import re
from types import TracebackType
from typing import Self

from msgspec.structs import replace

from pellucid.diagnose.words import duration
from pellucid.model import CONFIDENCES, SEVERITIES, Finding
from pellucid.model.collector import Collector
from pellucid.model.errors import UsageError
from pellucid.model.recording import RecordedProcess
from pellucid.present.cli import plain, recording_text, screen
from pellucid.present.cli.moment import Moment, clock
from pellucid.recording import past, trends
from pellucid.recording.reading import Recording

_AGAIN = re.compile(r"pellucid (why|stacks|waits|files|sockets|memory|gc|profile) (\d+)(?: -\S+)*(?P<words>  \(.*\))?$")


class Replaying:
    """An open recording and who is meant; a context manager. Raises UsageError. Each method prints and gives the exit status."""

    def __init__(self, path: str, moment: Moment, target: str | None, *, as_json: bool) -> None:
        self.path = path
        self.moment = moment
        self.target = target
        self.as_json = as_json
        self.recording = Recording(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.recording.close()

    def contents(self) -> int:
        report = self.recording.report()
        if self.moment.seconds is not None:
            begin = report.last_at - self.moment.seconds
            report = replace(report, findings=self.recording.findings(begin=begin))
        if self.as_json:
            plain.emit(report)
        elif not report.processes:
            screen.say(screen.printable(f"{self.path}: nothing was recorded in it yet"))
        else:
            recording_text.tell(report, self.moment.seconds)
        return 0

    def why(self, *, evidence: bool) -> int:
        from pellucid.diagnose.engine import diagnose
        from pellucid.present.cli import why_text

        process, at = self._who()
        seen = past.snapshot(self.recording, process.key, at)
        if seen is None:
            raise self._nothing(process, "no look at it had been made by then")
        judged = sorted((*trends.known(self.recording, process.key, at), *diagnose(seen)), key=_worst_first)
        findings = tuple(map(self._again, judged))
        if self.as_json:
            plain.emit(why_text.report(seen, findings))
            return 0
        self._as_of(process, seen.taken_at, at)
        why_text.tell(seen, findings, with_evidence=evidence)
        return 0

    def stacks(self, *, every: bool) -> int:
        from pellucid.present.cli import stack_text

        process, at = self._who()
        report = past.stacks(self.recording, process, at)
        if report is None:
            raise self._nothing(process, "no stack of it is kept of then")
        if self.as_json:
            plain.emit(report)
            return 0
        self._as_of(process, report.taken_at, at)
        for line in stack_text.lines(report, every=every):
            screen.say(line)
        return 0

    def waits(self) -> int:
        from pellucid.present.cli import waits_text

        process, at = self._who()
        report = past.waits(self.recording, process.key, at)
        if report is None:
            raise self._nothing(process, "no look at it had been made by then")
        if self.as_json:
            plain.emit(report)
            return 0
        self._as_of(process, report.taken_at, at)
        for line in waits_text.lines(report):
            screen.say(line.text, bold=line.bold, dim=line.dim, colour=line.colour)
        return 0

    def profile(self, form: str | None, output: str | None, *, force: bool) -> int:
        from pellucid.present.cli import profile
        from pellucid.present.cli.profile_files import Wanted

        processes = [self._who()[0]] if self.target is not None else self._in_order()
        wanted = Wanted(form, output)
        first = min(each.first_at for each in processes)
        last = max(each.last_at for each in processes)
        begin, end = self.moment.span(first, last)
        self._is_sampled(processes)
        with wanted.file(force=force) as file:
            made = past.profile(self.recording, processes, begin, end)
            if not self.as_json and not wanted.to_stdout:
                screen.say(f"recorded {clock(begin)} to {clock(end)}", dim=True)
            profile.give(made, wanted, file, as_json=self.as_json)
        return 0

    def _is_sampled(self, processes: list[RecordedProcess]) -> None:
        """Raises UsageError where no stack of any of them was sampled, with why: an empty profile would say that nothing ran."""
        if any(each.samples for each in processes):
            return
        (process, *others) = processes
        whose = f"pid {process.process.pid}" if not others else f"the {len(processes)} processes"
        why = next((gap.why for each in processes for gap in each.gaps if gap.what.startswith("the stacks of ")), "")
        looked = self.recording.snapshot(process.key, process.last_at)
        raise UsageError(
            tried=f"make a profile of {whose} from {self.path}",
            said=f"no stacks of {whose} were sampled{': ' + why if why else ''}",
            remedy=f"pellucid replay {self.path} stacks {process.process.pid}  (those of the last look)"
            if looked is not None
            else f"pellucid replay {self.path}  (tells what is in it)",
        )

    def memory(self, *, evidence: bool) -> int:
        from pellucid.present.cli import memory_text

        process, at = self._who()
        begin, _ = self.moment.span(process.first_at, process.last_at, None)
        seen = past.memory(self.recording, process, begin, at)
        if seen is None:
            raise self._nothing(process, "no numbers of its memory are kept of that time")
        made = replace(memory_text.report(seen), taken_at=at)
        made = replace(made, findings=tuple(self._again(finding) for finding in made.findings))
        if self.as_json:
            plain.emit(made)
            return 0
        self._as_of(process, at, at)
        memory_text.tell(made, evidence=evidence)
        return 0

    def gc(self) -> int:
        process, at = self._who()
        begin, _ = self.moment.span(process.first_at, process.last_at, None)
        java = self.recording.java(process.key, at)
        if java is not None:
            return self._java(process, *java)
        from pellucid.present.cli import gc_python_text

        seen = past.collections(self.recording, process, begin, at)
        if seen is None:
            raise self._nothing(process, "its collector had not been read twice by then")
        made = gc_python_text.report(process.process, seen, begin + seen.seconds)
        if self.as_json:
            plain.emit(made)
            return 0
        self._as_of(process, at, at)
        gc_python_text.tell(made)
        return 0

    def _java(self, process: RecordedProcess, at: float, collector: Collector) -> int:
        from pellucid.model.collector_report import CollectorReport
        from pellucid.present.cli import gc_jvm_text

        report = CollectorReport(
            process=process.process,
            taken_at=at,
            gaps=process.gaps,
            generations=collector.generations,
            collections=collector.collections,
            collector=collector,
            share=collector.time_s / collector.at_s if collector.at_s > 0 else 0.0,
        )
        if self.as_json:
            plain.emit(report)
            return 0
        self._as_of(process, at, at)
        for line in gc_jvm_text.lines(report):
            screen.say(line)
        return 0

    def files(self) -> int:
        from pellucid.present.cli import files_text

        process, at = self._who()
        report = self.recording.files(process.key, at)
        if report is None:
            raise self._nothing(process, "its descriptors had not been read by then")
        if not self.as_json:
            self._as_of(process, report.taken_at, at)
        files_text.tell(report, as_json=self.as_json)
        return 0

    def syscalls(self) -> int:
        process, at = self._who()
        begin, _ = self.moment.span(process.first_at, process.last_at)
        made = past.calls(self.recording, process, begin, at)
        if made is None:
            raise UsageError(
                tried=f"tell the system calls of pid {process.process.pid}",
                said="they were not counted",
                remedy=f"pellucid record --syscalls {process.process.pid}",
            )
        if self.as_json:
            plain.emit(made)
            return 0
        total = sum(each.calls for each in made.summary)
        screen.say(
            f"pid {process.process.pid}: {total:,} system calls in {duration(made.seconds)}, {total / made.seconds:,.0f} a second",
            bold=True,
        )
        rows = [
            (each.name, f"{each.calls:,}", f"{each.per_s:,.1f}") for each in made.summary[: recording_text.ON_SCREEN]
        ]
        screen.table(("CALL", "CALLS", "A SECOND"), rows, right=frozenset({1, 2}))
        return 0

    def sockets(self) -> int:
        from pellucid.present.cli import sockets

        process, at = self._who()
        report = self.recording.sockets(process.key, at)
        if report is None:
            raise self._nothing(process, "its sockets had not been read by then")
        if self.as_json:
            plain.emit(report)
            return 0
        self._as_of(process, report.taken_at, at)
        sockets.tell(report)
        return 0

    def _in_order(self) -> list[RecordedProcess]:
        """Those that were asked for first. Raises UsageError where there is none."""
        processes = self.recording.processes()
        if not processes:
            raise UsageError(
                tried=f"read the recording {self.path}",
                said="nothing was recorded in it yet",
                remedy=f"pellucid record PID -o {self.path}",
            )
        return sorted(processes, key=lambda one: (not one.asked, one.first_at))

    def _who(self) -> tuple[RecordedProcess, float]:
        """(the process that is meant, the moment). Raises UsageError."""
        processes = self._in_order()
        fitting = processes
        if self.target is not None:
            fitting = [each for each in processes if _fits(each, self.target)]
        elif asked := [each for each in processes if each.asked]:
            fitting = asked
        first, last = self.recording.span()
        at = self.moment.at(first, last)
        there = [each for each in fitting if each.first_at <= at <= each.last_at + 1] or fitting
        if len({each.process.pid for each in there}) != 1:
            raise self._several(there or processes)
        process = there[-1]
        if at < process.first_at:
            raise self._nothing(process, f"pid {process.process.pid} is recorded from {clock(process.first_at)} on")
        return process, min(at, process.last_at)

    def _several(self, processes: list[RecordedProcess]) -> UsageError:
        listed = [f"{each.process.pid}  {recording_text.called(each)}" for each in processes[:12]]
        more = [f"and {len(processes) - 12} more"] if len(processes) > 12 else []
        said = "no process of the recording fits" if self.target is not None else "several processes are recorded"
        if self.target is not None and any(_fits(each, self.target) for each in processes):
            said = f"{len(processes)} processes fit"
        return UsageError(
            tried=f"find {self.target!r} in {self.path}" if self.target is not None else f"look into {self.path}",
            said="\n".join([f"{said}:", *listed, *more]),
            remedy=f"pellucid replay {self.path} why {processes[0].process.pid}",
        )

    def _nothing(self, process: RecordedProcess, said: str) -> UsageError:
        return UsageError(
            tried=f"look at pid {process.process.pid} in {self.path}",
            said=said,
            remedy=f"pellucid replay {self.path}  (tells what is in it)",
        )

    def _as_of(self, process: RecordedProcess, looked: float, at: float) -> None:
        """One line before the screen: when this was, and what became of it."""
        text = f"recorded {clock(looked)}"
        if at - looked >= 1:
            text += f", the last look before {clock(at)}"
        if process.death is not None:
            text += f" · {process.death} at {clock(process.death.at)}"
        screen.say(screen.printable(text), dim=True)

    def _again(self, finding: Finding) -> Finding:
        """With the commands that can be given to the recording too, and without those that need the process."""
        commands = []
        for line in finding.next:
            found = _AGAIN.fullmatch(line)
            if found is not None:
                at = f" --at '{self.moment.text}'" if self.moment.text is not None else ""
                commands.append(f"pellucid replay {self.path} {found[1]} {found[2]}{at}{found['words'] or ''}")
        return replace(finding, next=tuple(commands))


def _worst_first(finding: Finding) -> tuple[int, int]:
    return SEVERITIES.index(finding.severity), CONFIDENCES.index(finding.confidence)


def _fits(each: RecordedProcess, target: str) -> bool:
    if target.isascii() and target.isdigit():
        return each.process.pid == int(target)
    return target in each.process.name or target in " ".join(each.process.command)
