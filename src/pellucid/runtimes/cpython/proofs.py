"""Which calls hold still: what samples are judged by (`chains`) is learnt from copies that are taken twice, as in `frames`.

A call needs to hold still only for as long as its two frames, and those between them and the innermost, are copied twice with the thread
state between: some hundred bytes. If the caller is at the same instruction on both sides, and so are all that lead there from what the
state in between names as the innermost frame, it was in that call. Whole stacks are proved where that is not possible, and now and then.

A stack that is read once (`threads`) is judged by them, too. Where both sides of its double copy are the same to the last byte, it rests. Else
each frame has to be known to be called from just where its caller stands: by an inline cache, or by proofs of the whole stack. How long a copy
takes then decides how many stacks are given, and not whether they are true. Proofs of parts are left out there: those that are taken where a copy
is torn, again and again, prove what is torn.
"""

from pellucid.kernel.memory import Memory, Unreadable, Vector
from pellucid.runtimes.cpython.calls import ROOT, Calls
from pellucid.runtimes.cpython.codes import Code
from pellucid.runtimes.cpython.copies import Copies, Plan, turned, upward
from pellucid.runtimes.cpython.debug_offsets import Layout
from pellucid.runtimes.cpython.frames import OWNED_BY_C, Frames, Header, Walked
from pellucid.runtimes.cpython.trie import Trie

MAX_PART = 64
"""Frames of a part of a stack that are walked."""
SPARE = 512
MOST_SCATTERED = 24
"""Frames outside of the top chunk that a proof of a part may have."""
MAX_UNLIKE = 4
"""Times that an instruction is looked at: a call is specialised after some calls."""
MAX_KEPT_UNLIKE = 1 << 14
ENOUGH_PROOFS = 2
DOUBTED_PROOFS = 4
"""Of a call where the inline cache names another function."""
MAX_KEPT = 64
"""Copies of parts that are kept for the next time."""


class Proofs(Frames):
    """Learns the calls of the threads of one process, as numbers of a trie know them."""

    def __init__(self, memory: Memory, layout: Layout, trie: Trie) -> None:
        super().__init__(memory, layout)
        self._trie = trie
        self._calls = Calls()
        self._called_version = layout["instruction.called_version"]
        self._function = layout.get("interpreter_frame.function")  # of 3.11, which has no version in the code object
        self._function_code = layout["function.func_code"]
        self._function_version = layout.get("function.func_version") or 0
        self._versions: set[int] = set()
        """Of all functions that an inline cache was seen to name."""
        self._unlike: dict[tuple[int, int], int] = {}
        """(instruction, version) → how often that instruction was seen to call another version, or none."""

    def is_written(self, instruction: int, frame: int, code: int, called: Code) -> bool:
        """Whether the instruction that the caller is at says itself that it calls `called`, whose frame is at `frame`.

        A call that was specialised (PEP 659) keeps the version of the function that it calls in its inline cache.
        """
        if not called.version and self._function is not None:
            called.version = self._version(frame, self._function, code)
        key = (instruction, called.version)
        times = self._unlike.get(key, 0)
        if not called.version or times >= MAX_UNLIKE:
            return False
        try:
            if self._memory.u32(instruction + self._called_version) == called.version:
                self._versions.add(called.version)
                return True
        except Unreadable:
            return False
        if len(self._unlike) >= MAX_KEPT_UNLIKE:
            self._unlike.clear()
        self._unlike[key] = times + 1
        return False

    def _calls_another(self, instruction: int, called: Code) -> bool:
        """Whether the instruction says that it calls another function than this one: it does so most of the time."""
        try:
            version = self._memory.u32(instruction + self._called_version)
        except Unreadable:
            return False
        return version != called.version and version in self._versions

    def _version(self, frame: int, place: int, code: int) -> int:
        """Of the function that runs in a frame, if it is still that of `code`; 0 where it has none."""
        try:
            function = self._memory.u64(frame + place)
            if self._memory.u64(function + self._function_code) == code:
                return self._memory.u32(function + self._function_version)
        except Unreadable:
            pass  # it has returned, and was freed
        return 0

    def prove(self, plan: Plan) -> None:
        """Learns the calls of the whole stack that hold still now."""
        if plan.stale or plan.late:
            try:
                plan = self.plan(plan.state[0][0] - self.state.start, plan.chunk_size, plan.recent)
            except Unreadable:
                return
        copies = plan.copy(self._memory.pid)
        if copies is None:
            return
        found = self.proved(plan, copies)
        if found is None:
            found = self.agreed(plan, copies)
        if plan.loose and not plan.still(copies):
            found = self._before_calls_outside(plan, found)
        self._learn(found, root=len(found) <= self.most)

    def _before_calls_outside(self, plan: Plan, found: list[Header]) -> list[Header]:
        """The outer part without coroutines and generators: copying many of them takes as long as they live, and they come back to where they were."""
        for number in range(len(found) - 1, -1, -1):
            frame, _, _, _, owner = found[number]
            if frame in plan.loose and owner < OWNED_BY_C:
                return found[number + 1 :]
        return found

    def prove_part(self, plan: Plan, frames: list[int], spare: int) -> bool:
        """Learns the calls between these frames, innermost first, that hold still now. False where they are too scattered.

        `spare`: so many bytes above them are looked at, too: by then the innermost frame may lie there. It copies some hundred bytes instead of thousands, so that calls need to hold still for a part of the time.
        """
        chunk, end = plan.chunk, plan.chunk + plan.chunk_size - self._frame.start - self._frame.size
        inside = [frame for frame in frames if chunk <= frame <= end]
        outside = tuple(frame for frame in frames if not chunk <= frame <= end)
        if len(outside) > MOST_SCATTERED:
            return False
        first, size = (
            (min(inside), min(max(inside) + spare, end) - min(inside) + self._frame.size) if inside else (0, 0)
        )
        vector = plan.proofs.get((first, size, outside))
        if vector is None:
            if len(plan.proofs) >= MAX_KEPT:
                plan.proofs.clear()
            start = self._frame.start
            pieces = upward(first + start, size) if inside else []
            others = [(frame + start, self._frame.size) for frame in outside]
            ranges = [*pieces, *others, self._names_innermost(plan), *reversed(pieces), *others]
            vector = Vector(self._memory.pid, ranges)
            plan.proofs[first, size, outside] = vector
        if vector.copy() < vector.size:
            return True
        places = {frame: size + number * self._frame.size for number, frame in enumerate(outside)}
        state = (vector.size - 8) // 2
        before, after = bytes(vector.buffer[:state]), bytes(vector.buffer[state + 8 :])
        innermost = self._named(vector.buffer, state)
        one = self._part(before, places, first, size, innermost, frames[-1])
        other = self._part(turned(after[:size]) + after[size:], places, first, size, innermost, frames[-1])
        held: list[Header] = []
        for ours, theirs in zip(reversed(one), reversed(other), strict=False):
            if ours[:3] != theirs[:3]:
                break
            held.append(ours)
            if ours != theirs:
                break  # its caller held still, and it did not
        self._learn(held[::-1], root=False)
        return True

    def _part(self, side: bytes, places: dict[int, int], first: int, size: int, frame: int, last: int) -> list[Header]:
        """The frames from `frame` to `last` in one side: `size` bytes from the frame `first` on, and `places`. None where no way leads there."""
        found: list[Header] = []
        most = size - self._frame.size
        while len(found) < MAX_PART:
            place = frame - first if 0 <= frame - first <= most else places.get(frame)
            if place is None:
                break
            code, previous, instruction, owner = self._frame.unpack_from(side, place)
            found.append((frame, code, previous, instruction, owner))
            if frame == last:
                return found
            frame = previous
        return []

    def _names_innermost(self, plan: Plan) -> tuple[int, int]:
        """Where the address of the innermost frame stands."""
        for cframe in plan.cframes:
            return cframe + self._cframe_offset, 8
        return plan.state[0][0] - self.state.start + self._current_offset, 8

    def _learn(self, found: list[Header], *, root: bool) -> bool:
        """Each of these frames calls the next one; they are innermost first. `root`: the last one is the outermost of its stack.

        Returns whether all of these calls were known, or are by now.
        """
        caller: Code | None = ROOT
        at = standing = 0
        known, all_known = root, True
        for frame, code, _, instruction, owner in reversed(found):
            place = self._trie.place(code, instruction, owner)
            if place is None:
                continue
            called, unit = place
            if called is None:
                return False
            if known and not self._knows(caller, at, standing, frame, code, called):
                doubted = bool(standing) and self._calls_another(standing, called)
                all_known &= self._calls.learn(caller, at, called, DOUBTED_PROOFS if doubted else ENOUGH_PROOFS)
            caller, at, standing, known = called, unit, instruction, True
        return all_known

    def _knows(self, caller: Code | None, at: int, standing: int, frame: int, code: int, called: Code) -> bool:
        """Whether `called`, which runs in `frame`, is known to be called by the caller at just this instruction, which is at `standing`."""
        if self._calls.site(caller, at, called) == at:
            return True
        if not standing or not self.is_written(standing, frame, code, called):
            return False
        self._calls.know(caller, at, called)
        return True

    def walk(self, plan: Plan, copies: Copies, *, learn: bool) -> tuple[Walked | None, bool]:
        """The stack of a double copy, where it is proved, and whether both sides agree on it.

        It is proved where all bytes are the same. Where only the headers are, the thread went on, and may have come back in between: then
        each call has to be known, too. `learn`: the copy is one by which calls are learnt (`Plan.copy`).
        """
        found = self.proved(plan, copies)
        if found is None:
            if learn and not plan.stale:
                self._learn(self._before_calls_outside(plan, self.agreed(plan, copies)), root=True)
            return None, False
        whole = len(found) <= self.most
        if found and not plan.still(copies):
            shown = self._with_code(found)
            if learn and not self._learn(shown, root=whole):
                return None, True
            if not shown or self._known(shown, root=whole) < len(shown):
                return None, True
        return self._walked(found[: self.most], cut=not whole), True

    def at_state(self, plan: Plan, copy: bytes) -> Walked | None:
        """The stack of a sample (`Plan.sample`), where each frame is known to be called from just where its caller stands."""
        copies = Copies(b"", copy[: plan.state_size], copy[plan.state_size :])
        frame = self._current(plan, copies.state)
        if frame is None or len(copy) < plan.size:
            plan.stale = True
            return None
        walked = self._alone(plan, copies, copies.after, 0, plan.chunk_size)
        if frame and not walked:
            plan.stale = True  # led astray, or to a frame that was not planned for
            return None
        found = self._with_code(walked)
        if frame and (not found or self._known(found) < len(found)):
            return None
        return self._walked(found)

    def outer(self, plan: Plan, copies: Copies) -> Walked:
        """The outer part of a double copy on which both sides agree, as far as each call is known: of a thread that never held still."""
        found = self.agreed(plan, copies)
        return self._walked(found[len(found) - self._known(found) :], moving=True)

    def _known(self, found: list[Header], *, root: bool = True) -> int:
        """How many of these frames, from the outermost on, are known to be called by the one before; as in `_learn`. None where none is of Python."""
        caller: Code | None = ROOT
        at = standing = 0
        first = not root
        for number, (frame, code, _, instruction, owner) in enumerate(reversed(found)):
            place = self._trie.place(code, instruction, owner)
            if place is None:
                continue
            called, unit = place
            returns = not code & self._untagged  # so it was when it was copied, and what it called is over
            if called is None or returns:
                return number
            if not first and not self._knows(caller, at, standing, frame, code, called):
                return number
            caller, at, standing, first = called, unit, instruction, False
        return 0 if caller is ROOT else len(found)

    def _with_code(self, found: list[Header]) -> list[Header]:
        """Without an innermost frame that returns just now."""
        return found if not found or found[0][1] & self._untagged else found[1:]
