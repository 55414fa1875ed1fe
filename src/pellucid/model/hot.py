"""Sums over a profile: its hottest functions and call path. Pure; each takes a Profile and gives values.

Time that a thread slept, or wanted the GIL, is told apart from time that it ran, where the samples say so: forty idle threads in
`Condition.wait` would hide the one that works.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable

from pellucid.model.profile import NO_STACK, Changed, Hot, Profile, Run, Step
from pellucid.model.report import ProfileReport
from pellucid.model.thread import Frame

Function = tuple[str, str]
"""(qualified name, file): lines of one function are told together."""

UNKNOWN = "(moving)"
"""Stands for the calls above a stack that was cut, because they moved too fast: their time is not that of their caller."""

MOST = 100
"""Functions of a report."""


def ran(run: Run) -> bool:
    """The thread was on a CPU or ready for one, as far as is known."""
    return run.state not in ("waiting", "gil")


def slept(run: Run) -> bool:
    return run.state == "waiting"


def weights(profile: Profile, chosen: Callable[[Run], bool]) -> tuple[Counter[int], Counter[int]]:
    """(nanoseconds, samples) of each stack as a whole, over the runs that are chosen."""
    weight, samples = Counter[int](), Counter[int]()
    for track in profile.tracks:
        for run in track.runs:
            if chosen(run):
                weight[run.stack] += run.weight_ns
                samples[run.stack] += run.samples
    return weight, samples


def hottest(profile: Profile, chosen: Callable[[Run], bool] = ran, most: int = MOST) -> tuple[Hot, ...]:
    """Functions, most own time first; those that only call others come after, by their total."""
    weight, samples = weights(profile, chosen)
    cut, cut_samples = weights(profile, lambda run: run.moving and chosen(run))
    below = _below(profile, weight)
    own, total, counted = Counter[Function](), Counter[Function](), Counter[Function]()
    lines: dict[Function, Counter[int | None]] = defaultdict(Counter)
    inner: dict[Function, Counter[int | None]] = defaultdict(Counter)
    names: dict[Function, Frame] = {}
    for stack in _outermost(profile):
        key = _function(profile, stack)
        total[key] += below[stack]
    for stack, node in enumerate(profile.stacks):
        if not below[stack]:
            continue
        frame = profile.frames[node.frame]
        key = (frame.qualname, frame.file)
        names.setdefault(key, frame)
        lines[key][frame.line] += below[stack]
        if weight[stack] > cut[stack]:
            own[key] += weight[stack] - cut[stack]
            counted[key] += samples[stack] - cut_samples[stack]
            inner[key][frame.line] += weight[stack] - cut[stack]
    moving = sum(cut.values())
    found = [Hot(UNKNOWN, UNKNOWN, "", None, moving, moving, sum(cut_samples.values()))] if moving else []
    found += [
        Hot(
            names[key].function,
            key[0],
            key[1],
            (inner.get(key) or lines[key]).most_common(1)[0][0],
            own[key],
            total[key],
            counted[key],
        )
        for key in names
    ]
    return tuple(sorted(found, key=lambda hot: (-hot.self_ns, -hot.total_ns, hot.qualname))[:most])


def path(profile: Profile, chosen: Callable[[Run], bool] = ran) -> tuple[Step, ...]:
    """From the outermost call to where most of the time goes: at each step the heaviest callee, until the caller itself is heavier."""
    weight, _ = weights(profile, chosen)
    below = _below(profile, weight)
    callees: dict[int, list[int]] = defaultdict(list)
    for stack, node in enumerate(profile.stacks):
        if below[stack]:
            callees[node.parent].append(stack)
    whole = sum(weight.values())
    steps: list[Step] = []
    at, own = [NO_STACK], weight[NO_STACK]
    while True:
        groups: dict[Function, list[int]] = defaultdict(list)
        for stack in at:
            for callee in callees.get(stack, ()):
                groups[_function(profile, callee)].append(callee)
        if not groups:
            break
        heaviest = max(groups.values(), key=lambda group: sum(below[stack] for stack in group))
        share = sum(below[stack] for stack in heaviest)
        if own > share:
            break
        line = max(heaviest, key=lambda stack: below[stack])
        steps.append(Step(profile.frames[profile.stacks[line].frame], share / whole))
        at, own = heaviest, sum(weight[stack] for stack in heaviest)
    return tuple(steps)


def changes(before: Profile, after: Profile) -> tuple[Changed, ...]:
    """Every function of either, the largest change of its own share first."""
    shares: list[dict[Function, Hot]] = []
    wholes: list[float] = []
    for profile in (before, after):
        found = hottest(profile, most=1 << 30)
        shares.append({(hot.qualname, hot.file): hot for hot in found})
        wholes.append(sum(hot.self_ns for hot in found) or 1)
    nothing = Hot("", "", "", None, 0, 0, 0)
    changed = []
    for key in {**shares[1], **shares[0]}:
        one, two = shares[0].get(key, nothing), shares[1].get(key, nothing)
        changed.append(
            Changed(
                key[0],
                key[1],
                (two if two is not nothing else one).line,
                one.self_ns / wholes[0],
                two.self_ns / wholes[1],
                one.total_ns / wholes[0],
                two.total_ns / wholes[1],
            )
        )
    return tuple(
        sorted(
            changed,
            key=lambda each: (
                -abs(each.self_after - each.self_before),
                -abs(each.total_after - each.total_before),
                each.qualname,
            ),
        )
    )


def reported(profile: Profile) -> ProfileReport:
    """The JSON document of a profile."""
    return ProfileReport(
        process=profile.process,
        taken_at=profile.began_at,
        gaps=profile.gaps,
        mode=profile.mode,
        taking=profile.taking,
        top=hottest(profile),
        waiting=hottest(profile, slept),
        path=path(profile),
        profile=profile,
    )


def _function(profile: Profile, stack: int) -> Function:
    frame = profile.frames[profile.stacks[stack].frame]
    return frame.qualname, frame.file


def _below(profile: Profile, weight: Counter[int]) -> list[int]:
    """Of each stack the time of it and of all that it calls. A caller's number is smaller than its callee's."""
    below = [weight[stack] for stack in range(len(profile.stacks))]
    for stack in range(len(below) - 1, -1, -1):
        parent = profile.stacks[stack].parent
        if parent != NO_STACK:
            below[parent] += below[stack]
    return below


def _outermost(profile: Profile) -> Iterable[int]:
    """The stacks whose innermost function is not among its own callers: each time counts once, however deep the recursion."""
    callees: dict[int, list[int]] = defaultdict(list)
    for stack, node in enumerate(profile.stacks):
        callees[node.parent].append(stack)
    active = Counter[Function]()
    todo = list(callees[NO_STACK])
    while todo:
        stack = todo.pop()
        if stack < 0:  # everything below ~stack is done
            active[_function(profile, ~stack)] -= 1
            continue
        key = _function(profile, stack)
        if not active[key]:
            yield stack
        active[key] += 1
        todo.append(~stack)
        todo += callees.get(stack, ())
