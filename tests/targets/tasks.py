"""asyncio tasks in one state. Usage: tasks.py STATE; prints "ready".

abba: two tasks hold what the other needs, among others that wait for all sorts of things · timed: the same under a timeout ·
blocked: a callback sleeps, others are ready · threadsafe: a callback waits for its own loop · kinds: what else a task waits for · again: a lock taken twice ·
forked: a worker process · healthy: a server, workers on a queue, a contended lock that moves
"""
import asyncio, sys, time


async def leaf(event):
    await event.wait()


async def middle(event):
    await leaf(event)


async def user(one, other):
    async with one:
        await asyncio.sleep(0.1)
        async with other:
            pass


async def getter(queue):
    await queue.get()


async def putter(queue):
    await queue.put(1)
    await queue.put(2)


async def slots(door):
    async with door:
        await asyncio.sleep(600)


async def group():
    await asyncio.gather(asyncio.create_task(asyncio.sleep(600), name="in-group"))


async def threaded():
    await asyncio.to_thread(time.sleep, 600)


async def direct(task):
    await task


async def abba():
    a, b, event, queue, full, door = asyncio.Lock(), asyncio.Lock(), asyncio.Event(), asyncio.Queue(), asyncio.Queue(1), asyncio.Semaphore(1)
    make = asyncio.create_task
    ab = make(user(a, b), name="AB")
    tasks = [ab, make(user(b, a), name="BA"), make(middle(event), name="middle"), make(getter(queue), name="getter"), make(putter(full), name="putter")]
    tasks += [make(slots(door), name="inside"), make(slots(door), name="outside"), make(group(), name="group"), make(threaded(), name="threaded"), make(direct(ab), name="victim")]
    asyncio.get_running_loop().call_later(0.4, ready)
    await asyncio.gather(*tasks)


async def timed():
    a, b = asyncio.Lock(), asyncio.Lock()

    async def limited(one, other):
        async with asyncio.timeout(300):
            await user(one, other)

    tasks = [asyncio.create_task(limited(a, b), name="AB"), asyncio.create_task(asyncio.wait_for(user(b, a), 300), name="BA")]
    asyncio.get_running_loop().call_later(0.4, ready)
    await asyncio.gather(*tasks)


async def blocked():
    async def ticker():
        while True:
            await asyncio.sleep(0.01)

    async def rude():
        await asyncio.sleep(0.1)
        ready()
        time.sleep(600)

    await asyncio.gather(*(asyncio.create_task(ticker()) for _ in range(3)), rude())


async def threadsafe():
    """The loop's own thread waits for what it has handed to the loop."""

    async def ticker():
        while True:
            await asyncio.sleep(0.01)

    async def never_begun():
        pass

    tasks = [asyncio.create_task(ticker(), name="ticker")]
    await asyncio.sleep(0.1)
    ready()
    asyncio.run_coroutine_threadsafe(never_begun(), asyncio.get_running_loop()).result()
    await asyncio.gather(*tasks)


async def kinds():
    """Waits of other kinds, each in a task that is called like it."""

    never, future, taken = asyncio.Event(), asyncio.get_running_loop().create_future(), asyncio.Queue()
    taken.put_nowait(1)

    async def forever():
        await never.wait()

    async def to_group():
        async with asyncio.TaskGroup() as members:
            members.create_task(forever(), name="in-to-group")

    async def limited():
        await asyncio.wait_for(forever(), 300)

    async def executor():
        await asyncio.get_running_loop().run_in_executor(None, time.sleep, 600)

    async def condition():
        changed = asyncio.Condition()
        async with changed:
            await changed.wait()

    async def bare():
        await future

    async def shielded():
        await asyncio.shield(asyncio.create_task(forever(), name="behind-the-shield"))

    async def joined():
        await taken.join()

    async def child():
        await (await asyncio.create_subprocess_exec("sleep", "600")).wait()

    async def generator():
        async def numbers():
            await never.wait()
            yield 1

        async for _ in numbers():
            pass

    async def first_of():
        for done in asyncio.as_completed([asyncio.create_task(forever(), name="in-first-of")]):
            await done

    async def asleep():
        await asyncio.sleep(300)

    functions = (to_group, limited, executor, condition, bare, shielded, joined, child, generator, first_of, asleep)
    tasks = [asyncio.create_task(function(), name=function.__name__) for function in functions]
    asyncio.get_running_loop().call_later(0.5, ready)
    await asyncio.gather(*tasks)


async def healthy():
    lock, queue = asyncio.Lock(), asyncio.Queue()

    async def worker():
        while True:
            await queue.get()

    async def busy():
        while True:
            async with lock:
                await asyncio.sleep(0.001)

    tasks = [asyncio.create_task(one()) for one in (worker, worker, busy, busy, busy)]
    server = await asyncio.start_server(lambda *streams: None, "127.0.0.1", 0)
    asyncio.get_running_loop().call_later(0.4, ready)
    await asyncio.gather(server.serve_forever(), *tasks)


async def again():
    """A certain cycle of one: no lock of asyncio may be taken twice. Beside it a condition whose waiters were notified."""
    lock = asyncio.Lock()
    condition = asyncio.Condition(lock)
    taken = asyncio.Lock()

    async def greedy():
        async with taken:
            async with taken:
                pass

    async def notified():
        async with lock:
            await condition.wait()
            await asyncio.sleep(600)

    async def enters():
        async with condition:
            pass

    tasks = [asyncio.create_task(notified(), name=f"notified-{number}") for number in range(3)]
    await asyncio.sleep(0.1)
    async with condition:
        condition.notify_all()
    await asyncio.sleep(0.1)
    tasks += [asyncio.create_task(greedy(), name="greedy"), asyncio.create_task(enters(), name="enters")]
    asyncio.get_running_loop().call_later(0.4, ready)
    await asyncio.gather(*tasks)


async def forked():
    """A worker process that was forked while the loop ran: it has copies of all tasks, and a stack in which a loop ran once."""
    import concurrent.futures, multiprocessing

    async def ticker():
        while True:
            await asyncio.sleep(0.01)

    async def call():
        with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as workers:
            await asyncio.get_running_loop().run_in_executor(workers, time.sleep, 600)

    a, b = asyncio.Lock(), asyncio.Lock()

    async def either(one, other):
        async with one:
            await asyncio.sleep(0.1)
            async with asyncio.timeout(300), other:
                pass

    tasks = [asyncio.create_task(ticker()), asyncio.create_task(either(a, b)), asyncio.create_task(either(b, a))]
    await asyncio.sleep(0.2)
    asyncio.get_running_loop().call_later(0.5, ready)
    await asyncio.gather(asyncio.create_task(call(), name="call"), *tasks)


def ready():
    print("ready", flush=True)


asyncio.run({function.__name__: function for function in (abba, timed, blocked, threadsafe, kinds, again, forked, healthy)}[sys.argv[1]]())
