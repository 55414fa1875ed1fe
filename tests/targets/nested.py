"""One thread for each way to be inside of a `with`, or not yet or no longer; prints "ready". The thread's name says how many locks it holds."""
import asyncio, threading, time

stop = threading.Event()
locks = {}


def lock(*, taken=False):
    made = threading.Lock()
    if taken:
        made.acquire()
    return made


def hold_2_in_handler():
    a, b = lock(), lock()
    with a:
        try:
            raise ValueError
        except ValueError:
            with b:
                stop.wait()
        finally:
            pass


def hold_1_in_finally():
    a = lock()
    with a:
        try:
            pass
        finally:
            stop.wait()


def hold_1_after_another():
    a, b = lock(), lock()
    with a:
        pass
    with b:
        stop.wait()


def hold_0_after_with():
    a = lock()
    with a:
        pass
    stop.wait()


def hold_1_waiting_for_second():
    a, b = lock(), lock(taken=True)
    with a:
        with b:
            pass


def hold_0_in_except_after_with():
    a = lock()
    try:
        with a:
            raise ValueError
    except ValueError:
        stop.wait()


def hold_3_in_loop():
    a, b, c = lock(), lock(), lock()
    for _ in range(2):
        with a, b:
            while True:
                with c:
                    if not stop.wait():
                        break


def hold_1_in_expression():
    a = lock()
    with a:
        [stop.wait() for _ in range(1)]


def hold_1_in_else():
    a = lock()
    with a:
        try:
            pass
        except ValueError:
            pass
        else:
            stop.wait()


def hold_1_in_generator():
    a = lock()

    def inner():
        with a:
            yield stop.wait()

    next(inner())


class Other:
    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass


def hold_1_among_others():
    a = lock()
    with Other(), a, Other():
        stop.wait()


async def tasks():
    free, second, taken = asyncio.Lock(), asyncio.Lock(), asyncio.Lock()
    await taken.acquire()

    async def hold_0_entering_after_another():
        async with free:
            pass
        async with taken:
            pass

    async def hold_1_entering_second():
        async with second:
            async with taken:
                pass

    async def hold_1_awaiting():
        async with asyncio.Lock():
            await asyncio.sleep(600)

    async def hold_1_in_handler():
        async with asyncio.Lock():
            try:
                raise ValueError
            except ValueError:
                await asyncio.sleep(600)

    ways = (hold_0_entering_after_another, hold_1_entering_second, hold_1_awaiting, hold_1_in_handler)
    waiting = [asyncio.create_task(way(), name=way.__name__) for way in ways]
    await asyncio.sleep(0.1)
    print("ready", flush=True)
    await asyncio.gather(*waiting)


for name, function in list(globals().items()):
    if name.startswith("hold_"):
        threading.Thread(target=function, name=name, daemon=True).start()
time.sleep(0.2)
asyncio.run(tasks())
