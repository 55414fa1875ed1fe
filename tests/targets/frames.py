"""Threads that each stand still in another shape of stack. Usage: frames.py WITNESSES.

Writes WITNESSES.json, what sys._current_frames() says of each thread (innermost first: name, qualified name, file, line), and
WITNESSES.txt, what faulthandler says; then prints "ready". MainThread is left out of the first: it goes on to sleep.
"""
import asyncio, faulthandler, functools, json, re, sys, threading, time

HERE = threading.local()


def rest():
    time.sleep(3600)


class Shop:
    def __init__(self, last=False):
        if last:
            self.open()

    def open(self):
        def inner():
            rest()

        inner()

    @property
    def stock(self):
        return [rest() for _ in range(2)]

    @staticmethod
    def built():
        for number in range(5000):  # so often that the call of the class is specialised
            Shop(last=number == 4999)


def plain():
    (lambda: Shop().stock)()


def generators():
    def deepest():
        yield 1
        rest()
        yield 2

    def middle():
        yield from deepest()

    def outermost():
        yield from middle()

    for _ in outermost():
        pass


def expression():
    sum(rest() or number for number in [1])


class Awaitable:
    def __await__(self):
        rest()
        yield


async def leaf():
    await Awaitable()


async def branch():
    async with Context():
        pass


class Context:
    async def __aenter__(self):
        await leaf()

    async def __aexit__(self, *error):
        pass


async def ticks():
    yield 1
    await branch()


async def consumer():
    async for _ in ticks():
        pass


def coroutines():
    asyncio.run(consumer())


def from_c():
    sorted([2, 1], key=key)


def key(number):
    return functools.reduce(fold, [1, 2])


def fold(one, other):
    return re.sub("x", replaced, "x")


def replaced(match):
    return list(map(functools.partial(rest_for, 1), [1]))


def rest_for(one, other):
    rest()


def recursion(depth=900):
    if depth:
        recursion(depth - 1)
    else:
        sorted([1], key=lambda _: climb(300))


def climb(depth):
    return rest() if depth == 0 else climb(depth - 1)


def large():
    exec("def wide(" + ", ".join(f"a{n}=0" for n in range(250)) + "):\n" + "".join(f"  b{n} = 1\n" for n in range(3000)) + "  rest()\n", globals())
    wide()  # a frame of some 26 KB: larger than a chunk


def foreign():
    source = "\n\ndef größe():\n    函数()\n\n\ndef 函数():\n    𠀀()\n\n\ndef 𠀀():\n    rest()\n"
    names = {"rest": rest}
    exec(compile(source, "/tmp/ünï/日本語_😀/\udce9.py", "exec"), names)
    names["größe"]()


def evaluated():
    eval("[rest() for x in [1]]")


def caught():
    try:
        raise ValueError
    except ValueError:
        with HERE.lock:
            rest()


def guarded():
    HERE.lock = threading.Lock()
    caught()


def traced():
    sys.settrace(lambda *_: None)
    rest()


def profiled():
    sys.setprofile(lambda *_: None)
    rest()


SHAPES = [plain, Shop.built, generators, expression, coroutines, from_c, recursion, large, foreign, evaluated, guarded, traced, profiled]


def described(frame):
    found = []
    while frame:
        code = frame.f_code
        found.append([code.co_name, code.co_qualname, code.co_filename, frame.f_lineno])
        frame = frame.f_back
    return found


def main():
    sys.setrecursionlimit(3000)
    threading.stack_size(64 << 20)
    threads = [threading.Thread(target=shape, name=f"{shape.__qualname__} – ünï 日本 😀", daemon=True) for shape in SHAPES]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 30
    while any(sys._current_frames()[t.ident].f_code is not rest.__code__ for t in threads) and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.1)
    frames = {t.ident: [t.name, described(sys._current_frames()[t.ident])] for t in threads}
    with open(sys.argv[1] + ".json", "w", encoding="ascii") as file:
        json.dump(frames, file)
    with open(sys.argv[1] + ".txt", "w") as file:
        faulthandler.dump_traceback(file, all_threads=True)
    print("ready", flush=True)
    rest()


main()
