"""One object of each kind whose layout is in a table. Prints one line of JSON: name → [address, what is in it].

The main thread then sleeps; a thread named "holder" holds the RLock twice.
"""
import asyncio, collections, json, multiprocessing, os, sys, threading, time, types, weakref

SUB = type("Sub", (str,), {})


class Plain:
    def __init__(self):
        self.first, self.second = "one", 2

    def method(self):
        pass


class Slots:
    __slots__ = ("alpha", "__weakref__")


class OldStyle(dict):
    pass


def generator():
    yield 1


async def waiting():
    await asyncio.sleep(3600)


def hold(rlock, held):
    with rlock, rlock:
        held.set()
        time.sleep(3600)


lock, free, rlock, held = threading.Lock(), threading.Lock(), threading.RLock(), threading.Event()
lock.acquire()
holder = threading.Thread(target=hold, args=(rlock, held), name="holder", daemon=True)
holder.start()
held.wait()
semaphore = multiprocessing.get_context("fork").BoundedSemaphore(3)
semaphore.acquire()
deque = collections.deque(range(1000, 1100))
deque.popleft()
plain, other, materialised = Plain(), Plain(), Plain()
materialised.__dict__["third"] = 3
other.extra = "more"
old = OldStyle()
old.attribute = "x"
slots = Slots()
slots.alpha = "in a slot"
made = generator()
next(made)
general = {1: "one", (2,): "two"}
deleted = {"a": 1, "b": 2, "c": 3}
del deleted["b"]
large = {f"key{n}": n for n in range(70_000)}


async def main():
    task = asyncio.create_task(waiting(), name="a task")
    await asyncio.sleep(0)
    texts = ["", "ascii", "latin é", "日本", "😀 wide", "\udc80 lone", SUB("of a subclass"), SUB("日本"), "x" * 5000]
    integers = [0, 1, -1, 2**30, -(2**30), 2**60 + 5, -(2**90), 2**119, True]
    thing = {
        "texts": [[id(text), text] for text in texts],
        "integers": [[id(number), int(number)] for number in integers],
        "plain": [id(plain), {"first": "one", "second": 2}],
        "other": [id(other), {"first": "one", "second": 2, "extra": "more"}],
        "materialised": [id(materialised), {"first": "one", "second": 2, "third": 3}],
        "old": [id(old), {"attribute": "x"}],
        "slots": [id(slots), "in a slot", id(Slots.__dict__["alpha"])],
        "general": [id(general), len(general)],
        "deleted": [id(deleted), ["a", "c"]],
        "large": [id(large), 70_000],
        "tuple": [id(t := (1, 2, "three")), [id(each) for each in t]],
        "list": [id(texts), [id(each) for each in texts]],
        "set": [id(s := {"only"}), id(next(iter(s)))],
        "float": [id(f := 2.5), f],
        "bytes": [id(b := b"bytes \x00 here"), b.hex()],
        "deque": [id(deque), [id(deque[0]), id(deque[70]), id(deque[-1])]],
        "weakref": [id(w := weakref.ref(slots)), id(slots)],
        "module": [id(sys.modules["json"]), id(json.__dict__)],
        "method": [id(m := plain.method), [id(plain), id(Plain.method)]],
        "builtin": [id(c := lock.__exit__), id(lock)],
        "function": [id(hold), [id(hold.__code__), "hold", "hold"]],
        "code": [id(hold.__code__), [id(hold.__code__.co_exceptiontable), id(hold.__code__.co_consts), id(hold.__code__.co_names), hold.__code__.co_nlocals, hold.__code__.co_stacksize, hold.__code__.co_argcount, hold.__code__.co_flags, hold.__code__.co_firstlineno]],
        "generator": [id(made), id(generator.__code__)],
        "type": [id(Plain), [id(object), id(Plain.__mro__), Plain.__basicsize__, Plain.__flags__]],
        "lock": [id(lock), 1],
        "free": [id(free), 0],
        "rlock": [id(rlock), [holder.ident, 2]],
        "semlock": [id(semaphore._semlock), [semaphore._semlock.handle, 1, 3, 1, semaphore._semlock.name]],
        "task": [id(task), [id(task.get_coro()), "a task"]],
        "main": threading.main_thread().ident,
        "keep": [id(object)],
    }
    print(json.dumps(thing), flush=True)
    time.sleep(3600)


asyncio.run(main())
