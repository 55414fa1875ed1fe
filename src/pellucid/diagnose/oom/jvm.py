"""What a JVM prints when memory runs out, what its file hs_err_pidN.log says, and how full one that lives is.

Every message of java.lang.OutOfMemoryError is another memory: the heap is only one. The texts are those of HotSpot
(src/hotspot/share/memory/universe.cpp, gc/shared/memAllocator.cpp, prims/jvm.cpp, utilities/vmError.cpp, utilities/debug.cpp, and
java.base/share/classes/java/nio/Bits.java), JDK 6 to 25.

Older texts on these messages are out of date in two places: PermGen is gone since JDK 8 (interned strings live in the heap since 7, classes
in metaspace), and an array that is merely larger than the heap is "Java heap space"; only a length near 2^31 is "exceeds VM limit".
"""

import re
from collections.abc import Iterator

from msgspec import Struct

from pellucid.diagnose.sizes import size
from pellucid.model import Confidence, Finding, Ref
from pellucid.model.oom import OomSeen

MAX_LINES = 200_000
_ERROR = r"java\.lang\.OutOfMemoryError: "
_FULL = 0.93
_FRAME = re.compile(r"^\s+at (?P<call>[\w.$<>/@-]+)\((?P<where>[^)]*)\)")
_MAX_HS_ERR = 400  # lines of its head that are read


class _Message(Struct, frozen=True):
    kind: str
    pattern: re.Pattern[str]
    title: str
    sentence: str
    next: tuple[str, ...]
    confidence: Confidence = "certain"


def messages(seen: OomSeen) -> Iterator[Finding]:
    """One finding for each kind of message that is known, with the first frame of the program below its last one."""
    pid = str(seen.pid) if seen.pid is not None and seen.process is not None else "PID"
    found: dict[str, tuple[_Message, re.Match[str], str]] = {}
    places: dict[str, str] = {}
    last = ""
    for line in seen.text.splitlines()[-MAX_LINES:]:
        frame = _FRAME.match(line)
        if frame is not None:
            if (
                last
                and last not in places
                and not frame["call"].startswith(("java.", "jdk.", "sun.", "javax.", "java.base/"))
            ):
                places[last] = f"{frame['where']} in {frame['call']}"
            continue
        for message in MESSAGES:
            match = message.pattern.search(line)
            if match:
                found[message.kind] = (message, match, line.strip())
                places.pop(message.kind, None)
                last = message.kind
                break
    for kind, (message, match, line) in found.items():
        at = (
            f" It was thrown at {places[kind]}; who comes last need not be who has filled it." if kind in places else ""
        )
        named = {name: _spelt(name, value) for name, value in match.groupdict().items()}
        yield Finding(
            rule=f"oom-jvm-{kind}",
            severity="critical",
            title=message.title.format(**named),
            sentence=message.sentence.format(**named) + at,
            evidence=(Ref(source="the text", said=line[:300]),),
            next=tuple(command.replace("PID", pid) for command in message.next),
            confidence=message.confidence,
        )


def _spelt(name: str, value: str | None) -> str:
    if value is None:
        return "?"
    return size(int(value)) if name in {"bytes", "used", "limit"} and value.isdigit() else value.strip()


def fatal_error(seen: OomSeen) -> Iterator[Finding]:
    """hs_err_pidN.log: why the JVM ended itself or was ended by a signal."""
    lines = seen.text.splitlines()
    start = next((at for at, line in enumerate(lines) if line.startswith(_BANNERS)), None)
    if start is None:
        return
    head = lines[start : start + _MAX_HS_ERR]
    text = "\n".join(head)
    memory = _NATIVE.search(text)
    facts = [
        one
        for one in (_first(_PROBLEM, text), _first(_CURRENT, text), _first(_ELAPSED, text), _first(_COUNTS, text))
        if one
    ]
    evidence = tuple(
        Ref(source="hs_err", said=line.strip("# ").strip()[:200]) for line in head[:12] if line.strip("# ")
    ) + tuple(Ref(source="hs_err", said=one[:200]) for one in facts)
    if memory is not None or _INSUFFICIENT in text:
        what = (
            f"{memory['how']} of {size(int(memory['bytes']))} for {memory['why'].strip().rstrip('.')}"
            if memory
            else "an allocation"
        )
        yield Finding(
            rule="oom-jvm-native",
            severity="critical",
            title=f"the JVM itself was refused native memory: {what}",
            sentence="The system gave it no more memory outside of the Java heap. Either the machine or its cgroup is full, or a limit (ulimit -v, "
            "vm.max_map_count, vm.overcommit_memory 2), or the process's own native part leaks: heap, metaspace, code cache, threads' stacks, "
            "direct buffers and the libraries share what is there. A smaller -Xmx leaves more to the others.",
            evidence=evidence,
            next=(
                "free -h",
                "pellucid memory PID  (of the next one, while it lives)",
                "-XX:NativeMemoryTracking=summary, then jvm cmd PID VM.native_memory",
            ),
            confidence="certain",
        )
        return
    crash = _SIGNAL.search(text)
    if crash is None:
        return
    problem = _PROBLEM.search(text)
    frame = problem["frame"].strip() if problem else "?"
    native = frame.startswith("C ")
    yield Finding(
        rule="jvm-crash",
        severity="critical",
        title=f"the JVM crashed with {crash['signal']} in {frame}",
        sentence=(
            "Native code did it: a library that the program calls by JNI. An allocation that failed and was not looked at ends like this too (malloc "
            "gives NULL), as does memory that was freed twice."
            if native
            else "The frame is of the JVM's own or of compiled Java code: a fault of the JVM, of the hardware, or of native code that has destroyed its memory before."
        ),
        evidence=evidence,
        next=("look at the native frames and the counts of OutOfMemoryError in the file",),
        confidence="likely",
    )


_BANNERS = (
    "# A fatal error has been detected by the Java Runtime Environment",
    "# There is insufficient memory for the Java Runtime Environment",
)
_INSUFFICIENT = "There is insufficient memory for the Java Runtime Environment to continue"
_NATIVE = re.compile(
    r"Native memory allocation \((?P<how>\w+)\) failed to (?:map|allocate) (?P<bytes>\d+) bytes(?:\.| for (?P<why>[^\n]*))"
)
_SIGNAL = re.compile(r"^#\s+(?P<signal>SIG[A-Z]+|Internal Error)[ (]", re.MULTILINE)
_PROBLEM = re.compile(r"^# Problematic frame:\n#\s*(?P<frame>[^\n]*)", re.MULTILINE)
_CURRENT = re.compile(r"^Current thread[^\n]*", re.MULTILINE)
_ELAPSED = re.compile(r"^(?:Time|elapsed time): [^\n]*", re.MULTILINE)
_COUNTS = re.compile(r"^OutOfMemoryError [^\n]*", re.MULTILINE)


def _first(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    return found[0].replace("\n", " ").strip("# ") if found else ""


def is_nearly_full(seen: OomSeen) -> Iterator[Finding]:
    """A JVM that lives: how full its old generation and its metaspace are, as of the last collection."""
    collector = seen.collector
    if collector is None or seen.process is None:
        return
    pid, old = seen.process.pid, collector.old
    limit = (old.limit or old.capacity) if old is not None else 0
    share = collector.time_s / collector.at_s if collector.at_s > 0 else 0.0
    fulls = collector.count("full")
    if old is not None and limit and old.used >= _FULL * limit:
        yield Finding(
            rule="oom-jvm-old-full",
            severity="critical" if fulls else "warning",
            title=f"the old generation of pid {pid} is full: {size(old.used)} of {size(limit)}",
            sentence=f"As of the last collection ({collector.last_cause or 'none yet'}) {100 * old.used / limit:.0f} % of it are in use, after {fulls} full collections; "
            f"collections took {100 * share:.0f} % of its life. What is left after full collections is held: a leak, or a heap (-Xmx {size(collector.heap_limit or 0)}) that is too small.",
            evidence=(
                Ref(source=f"counters of pid {pid}", said=f"old {old.used} of {limit} bytes, {fulls} full collections"),
            ),
            next=(
                f"pellucid heap {pid}",
                f"pellucid gc {pid} --watch",
                f"pellucid jvm arm {pid}  (a dump at the OutOfMemoryError)",
            ),
            confidence="likely",
        )
    meta = collector.metaspace
    if meta is not None:
        for name, used, bound in (
            ("metaspace", meta.used, meta.limit),
            ("compressed class space", meta.class_used, meta.class_limit),
        ):
            if bound and used >= 0.9 * bound:
                yield Finding(
                    rule="oom-jvm-metaspace",
                    severity="warning",
                    title=f"the {name} of pid {pid} is nearly full: {size(used)} of {size(bound)}",
                    sentence=f"{collector.classes or 0:,} classes are loaded, {collector.classes_unloaded or 0:,} were unloaded. Classes go only with their loader: something holds loaders.",
                    evidence=(Ref(source=f"counters of pid {pid}", said=f"{name} {used} of {bound} bytes"),),
                    next=(f"pellucid jvm cmd {pid} VM.classloader_stats",),
                    confidence="certain",
                )


MESSAGES: tuple[_Message, ...] = (
    _Message(
        "uncaught",
        re.compile(r"OutOfMemoryError thrown from the UncaughtExceptionHandler in thread \"(?P<thread>[^\"]*)\""),
        'the heap was so full that thread "{thread}" could not even print its error',
        "The JVM says only that an OutOfMemoryError came while another was being told: the typical end of a heap that was filled to the brim. The "
        "cause is not in this line; the log of collections and a dump tell it. -XX:+HeapDumpOnOutOfMemoryError (also on a JVM that runs: "
        "pellucid jvm arm) writes one at the first error.",
        ("pellucid gc LOG", "pellucid heap FILE.hprof", "pellucid jvm arm PID  (a dump at the next one)"),
    ),
    _Message(
        "array-limit",
        re.compile(_ERROR + r"Requested array size exceeds VM limit"),
        "an array of nearly 2^31 elements was asked for: no heap of any size would do",
        "A length that the JVM can't have at all (about Integer.MAX_VALUE): most often a size that was computed wrongly, or a buffer that doubles. "
        'Not that the heap is too small: an array that is merely larger than the heap says "Java heap space" (older texts have that wrong).',
        ("look at the frame that asked for it, and where its length comes from",),
    ),
    _Message(
        "heap",
        re.compile(_ERROR + r"Java heap space"),
        "the Java heap is full, or one object was larger than what was left of it",
        "Three cases look alike. A leak: what full collections leave rises until it meets -Xmx. A heap that is too small for what the program "
        "needs: it rises and stays. One giant object: the heap is far from full before and after (the frame that asked for it tells). Also objects "
        "that wait for a finalizer that does not keep up.",
        ("pellucid gc LOG", "pellucid heap PID", "pellucid jvm arm PID  (a dump at the next one)"),
    ),
    _Message(
        "overhead",
        re.compile(_ERROR + r"GC overhead limit exceeded"),
        "nearly all time goes into collections, and they free almost nothing",
        "More than 98 % of the time was spent in full collections that freed less than 2 % of the heap (-XX:GCTimeLimit, GCHeapFreeLimit; the Parallel "
        'collector). It is a full heap that has not quite run out: the cause is that of "Java heap space".',
        ("pellucid gc LOG", "pellucid heap PID", "pellucid jvm arm PID  (a dump at the next one)"),
    ),
    _Message(
        "permgen",
        re.compile(_ERROR + r"PermGen space"),
        "the permanent generation is full: classes, and (until JDK 6) interned strings",
        "Only JDK 7 and before have it (-XX:MaxPermSize). Often a class loader leak: each redeployment loads all classes anew and something still holds "
        "the old loader. Since JDK 8 classes live in metaspace, which has no limit of its own unless it is given one.",
        ("pellucid heap FILE.hprof --type '*ClassLoader*'", "a JDK that is still maintained"),
    ),
    _Message(
        "class-space",
        re.compile(_ERROR + r"Compressed class space"),
        "the compressed class space is full",
        "It holds the classes themselves, and is reserved at the start (-XX:CompressedClassSpaceSize, 1 GiB): hundreds of thousands of classes. Almost "
        "always loaders that are never let go, or classes that are generated without end (proxies, scripts, lambdas of generated code).",
        (
            "pellucid gc PID",
            "pellucid jvm cmd PID VM.classloader_stats",
            "pellucid heap FILE.hprof --type '*ClassLoader*'",
        ),
    ),
    _Message(
        "metaspace",
        re.compile(_ERROR + r"Metaspace"),
        "metaspace is full: classes, not objects",
        "-XX:MaxMetaspaceSize was reached. Classes go only together with their loader, so either something holds class loaders (a redeployed "
        "application, a thread local, a driver that registered itself), or classes are generated without end.",
        (
            "pellucid gc PID",
            "pellucid jvm cmd PID VM.classloader_stats",
            "pellucid heap FILE.hprof --type '*ClassLoader*'",
        ),
    ),
    _Message(
        "direct",
        re.compile(
            r"Cannot reserve (?P<bytes>\d+) bytes of direct buffer memory(?: \(allocated: (?P<used>\d+), limit: (?P<limit>\d+)\))?"
            r"|" + _ERROR + r"Direct buffer memory"
        ),
        "the memory for direct buffers is full: {used} of {limit}, {bytes} more were asked for",
        "ByteBuffer.allocateDirect takes memory outside of the heap, bounded by -XX:MaxDirectMemorySize (else as much as -Xmx). It is given back only "
        "when the collector finds the small ByteBuffer objects: a heap that is rarely collected, pooled buffers that are not released (Netty), or "
        "one for each request and thread.",
        ("pellucid heap PID  (java.nio.DirectByteBuffer)", "pellucid memory PID"),
    ),
    _Message(
        "threads",
        re.compile(r"unable to create (?:new )?native thread"),
        "no further thread could be started: the heap has nothing to do with it",
        "pthread_create(3) was refused: the pids of the cgroup (pids.max), the processes of the user (ulimit -u), or memory for the stack (-Xss). Mostly "
        "a pool without a bound, or threads that never end: count them by name.",
        ("pellucid stacks PID", "cat /sys/fs/cgroup/pids.max", "ulimit -u"),
    ),
    _Message(
        "swap",
        re.compile(
            r"(?:OutOfMemoryError: )?request(?:ed)? (?P<bytes>\d+) bytes for (?P<why>[^.\n]+)\. Out of swap space\?"
        ),
        "native memory ran out: {bytes} were asked for {why}",
        "Not the heap: malloc(3) or mmap(2) was refused to the JVM itself. The machine or the cgroup is full, or the process's own native part leaks; {why} "
        "names who asked, not who has it. An hs_err_pidN.log in its working directory tells more.",
        ("pellucid oom hs_err_pidN.log", "pellucid memory PID", "free -h"),
    ),
    _Message(
        "native-method",
        re.compile(_ERROR + r".*\((?:Native [Mm]ethod)\)|" + _ERROR + r"<reason> <stack trace> \(Native method\)"),
        "a native method (JNI) was refused memory",
        "The allocation failed in native code and not in the JVM: the library that the first frame names. The heap is not the matter: look at the "
        "native memory of the process.",
        ("pellucid memory PID", "pellucid profile PID --native"),
        "likely",
    ),
    _Message(
        "heap",
        re.compile(
            r"Terminating due to java\.lang\.OutOfMemoryError: (?P<what>[^\n]*)|Aborting due to java\.lang\.OutOfMemoryError: (?P<which>[^\n]*)"
        ),
        "the JVM ended itself at its first OutOfMemoryError, as it was told to",
        "-XX:+ExitOnOutOfMemoryError or +CrashOnOutOfMemoryError. The message behind it says which memory it was.",
        ("pellucid heap FILE.hprof  (where -XX:+HeapDumpOnOutOfMemoryError wrote one)",),
    ),
)
"""The first that matches a line counts."""
