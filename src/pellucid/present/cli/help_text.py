"""What stands in the help beside a command's own words: the parts of the list of commands, examples, and the exit statuses.

`pellucid --help`, `pellucid COMMAND --help`, docs/reference.md and the man page print it (`lazy.py`, scripts/reference.py).
"""

SECTIONS = (
    ("why", "A process"),
    ("memory", "Its memory"),
    ("record", "Over time, all at once, elsewhere"),
    ("train", "Machine-learning models"),
    ("check", "pellucid itself"),
)
"""(first command, heading) of each part, in the order of the table of commands."""

STATUSES = (
    ("0", "It is done; findings are no failure."),
    ("1", "There are findings of that severity (only with --fail-on)."),
    ("2", "What was asked can't be done as asked; no process, or several, match the pattern."),
    ("3", "There is no such process, or it ended during the look."),
    ("4", "Not permitted; the message names the check of the kernel that says no."),
    ("5", "The runtime or its version is not understood."),
    ("6", "Only a part could be seen."),
    ("7", "The agent of another machine could not be reached, or is not the one that is known."),
    ("130", "Interrupted."),
)
COMMAND_STATUS = "With `-- CMD` the exit status is that of CMD."

EXAMPLES: dict[str, tuple[tuple[str, str], ...]] = {
    "why": (
        ("pellucid why 4242", "what is wrong with pid 4242"),
        ("pellucid why 'celery worker'", "with the one process that has this on its command line"),
        ("pellucid why 4242 -e", "and what each sentence rests on"),
        ("pellucid why 4242 -q --fail-on warning", "a health check: one short look, exit status 1 on trouble"),
    ),
    "ps": (
        ("pellucid ps", "all processes"),
        ("pellucid ps gunicorn", "those with that name or word on the command line"),
        ("pellucid ps --tree 4242", "its children, threads and tasks, by their Python names"),
    ),
    "info": (("pellucid info 4242", "who it is, its limits, its parents and children"),),
    "env": (
        ("pellucid env 4242", "as it is now"),
        ("pellucid env 4242 --changed", "what the program has set, changed or removed since its start"),
    ),
    "stacks": (
        ("pellucid stacks 4242", "every thread that runs Python"),
        ("pellucid stacks 4242 --all", "every thread and every frame"),
        ("pellucid stacks 4242 --tasks", "asyncio tasks, with their chains of awaits"),
    ),
    "waits": (
        ("pellucid waits 4242", "each wait, its holder, and what the holder waits for"),
        ("pellucid waits 4242 --dot | dot -Tsvg > waits.svg", "the same as a picture (Graphviz)"),
    ),
    "files": (
        ("pellucid files 4242", "what it has open"),
        ("pellucid files /var/log/app.log", "who has this file open"),
        ("pellucid files --port 8000", "who holds this port"),
        ("pellucid files --deleted", "which deleted files still fill the disk"),
        ("pellucid files 4242 --leaks", "what fills its table of descriptors"),
    ),
    "recover": (
        ("pellucid recover 4242", "the deleted files that it still holds"),
        ("pellucid recover 4242 --fd 4 -o saved.log", "a copy of one"),
        ("pellucid recover 4242 --fd 4 -o saved.log --follow", "also of what is still written to it"),
    ),
    "output": (
        ("pellucid output 4242", "until Ctrl-C"),
        ("pellucid output 4242 --timestamps -o out.log", "with time, pid and stream, into a file"),
    ),
    "sockets": (
        ("pellucid sockets 4242", "of one process"),
        ("pellucid sockets", "of the whole machine"),
    ),
    "syscalls": (
        ("pellucid syscalls 4242 --failed -d 10", "which calls fail in the next ten seconds, on which line"),
        ("pellucid syscalls 4242 --slow 100 -d 10", "which take 100 ms or more"),
        ("pellucid syscalls --summary -- python app.py", "every call of a program: counts, errors, times"),
        ("pellucid syscalls --written --net -- pip install rich", "what a command writes and connects to"),
    ),
    "profile": (
        ("pellucid profile 4242 -d 10", "ten seconds of a running process"),
        ("pellucid profile 4242 -d 10 -o slow.html", "as a flame graph"),
        ("pellucid profile 4242 -d 10 --mode cpu --native", "CPU time alone, with C functions"),
        ("pellucid profile -- python app.py", "a command from its start to its end"),
        ("pellucid profile diff before.pellucid after.pellucid", "what a change did"),
    ),
    "memory": (
        ("pellucid memory 4242", "where the bytes are, and whether something is wrong"),
        ("pellucid memory 4242 --watch 60", "what grows, and how fast"),
    ),
    "heap": (
        ("pellucid heap 4242", "Python objects, or the histogram of a JVM"),
        ("pellucid heap 4242 --every 10", "which objects become more, and who holds them"),
        ("pellucid heap 4242 --save a.heap", "keep it; later: pellucid heap diff a.heap b.heap"),
        ("pellucid heap java_pid4242.hprof", "read a heap dump of a JVM"),
    ),
    "gc": (
        ("pellucid gc 4242", "Python or a JVM, now"),
        ("pellucid gc 4242 --watch", "a line a second, and a verdict at Ctrl-C"),
        ("pellucid gc gc.log", "what a log of a JVM adds up to (-Xlog:gc*, -verbose:gc)"),
    ),
    "oom": (
        ('pellucid oom "java.lang.OutOfMemoryError: Metaspace"', "what this message means"),
        ("pellucid oom 4242", "how near it is; how it died, when it is gone"),
        ("dmesg | pellucid oom -", "what the kernel's log tells"),
    ),
    "jvm": (
        ("pellucid jvm arm 4242 --path /tmp/4242.hprof", "write a dump when memory ends"),
        ("pellucid jvm cmd 4242 VM.uptime", "any command of jcmd"),
    ),
    "record": (
        ("pellucid record 4242 -o app.recording", "until it ends, or Ctrl-C"),
        ("pellucid record -o app.recording -- python app.py", "a command from its start to its end"),
        ("pellucid record --all -o all.recording", "every Python and JVM process of this machine"),
    ),
    "replay": (
        ("pellucid replay app.recording", "who, from when to when, what was wrong, how it ended"),
        ("pellucid replay app.recording why --at 12:03", "what was wrong at 12:03"),
        ("pellucid replay app.recording stacks --at -30s", "half a minute before the end"),
        ("pellucid replay app.recording profile --last 5m -o last.html", "the last five minutes as a flame graph"),
    ),
    "top": (
        ("pellucid top", "all processes"),
        ("pellucid top gunicorn", "those that match"),
        ("pellucid top --plain --count 1", "one block of text"),
    ),
    "web": (
        ("pellucid web --open", "and open it in the browser"),
        ("pellucid web --port 8765", "always at the same address"),
    ),
    "metrics": (
        ("pellucid metrics", "answers on http://127.0.0.1:9709/metrics"),
        ("pellucid metrics --once", "one look, on stdout"),
    ),
    "agent": (
        ("pellucid agent --listen 0.0.0.0", "on the machine that is to be seen"),
        ("pellucid agent add gpu-07 gpu-07:7707", "on yours, once"),
        ("pellucid why 4242 --host gpu-07", "and then any command that looks"),
    ),
    "train": (
        ("pellucid train loan", "the example that comes with pellucid"),
        ("pellucid train houses.csv --target price --id id", "your own table"),
    ),
    "models": (
        ("pellucid models", "all of them"),
        ("pellucid models show houses", "its versions, scores and columns"),
        ("pellucid models promote houses:2", "running servers change over"),
        ("pellucid models import model.skops --sample rows.csv", "one that was made elsewhere"),
    ),
    "serve": (
        ("pellucid serve loan", "on 127.0.0.1:8000 with two workers"),
        ("pellucid serve loan --workers 4 --port 9000", "four workers, another port"),
        ("pellucid serve houses --canary houses:3 --share 5", "version 3 answers 5 % of the requests"),
    ),
    "predict": (
        ("pellucid predict loan --example", "records that were stored with the model"),
        ("pellucid predict loan rows.csv", "those of a file"),
        ("pellucid predict loan rows.csv --url http://127.0.0.1:8000", "by a server that runs"),
    ),
    "incidents": (
        ("pellucid incidents", "all, the newest first"),
        ("pellucid incidents show ID", "the request, the stacks, how it ended"),
    ),
    "check": (("pellucid check", "what can be seen as this user; sudo pellucid check: as root"),),
    "schema": (("pellucid schema why", "of what `pellucid why PID --json` prints"),),
}
"""Command → (command line, what it is for)."""


def epilog(command: str) -> str | None:
    """The examples of `command` for click, which keeps the lines of a paragraph that begins with a backspace."""
    examples = EXAMPLES.get(command)
    if examples is None:
        return None
    longest = max(len(line) for line, _ in examples)
    rows = [f"  {line:<{longest}}  {says}" for line, says in examples]
    if max(map(len, rows)) > _WIDTH:
        rows = [f"  {line}\n      {says}" for line, says in examples]
    return "\n".join(("\b", "Examples:", *rows))


_WIDTH = 78
"""Of a line, with the two columns by which click indents it on a terminal of 80."""
