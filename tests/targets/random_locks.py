"""A random program of threads and locks whose outcome is known before it starts. Usage: random_locks.py SEED; prints "ready".

Each thread takes the locks that are its own, waits for the others to have done so, and then wants one more, or sleeps. Whoever wants a lock
of a thread that in turn waits, and so on around to one of them, waits for ever: its name ends in "-stuck", that of any other in "-free".
"""
import contextlib, random, sys, threading, time

chance = random.Random(int(sys.argv[1]))
threads, count = chance.randint(2, 7), chance.randint(2, 9)
locks = [chance.choice((threading.Lock, threading.RLock))() for _ in range(count)]
owner = [chance.choice([None, *range(threads)]) for _ in range(count)]
wants = []
for number in range(threads):
    others = [lock for lock in range(count) if owner[lock] != number]
    wants.append(chance.choice([None, *others, *others]) if others else None)


def stuck(number):
    seen = set()
    while number not in seen:
        seen.add(number)
        if wants[number] is None or owner[wants[number]] is None:
            return False
        number = owner[wants[number]]
    return True


ready = threading.Barrier(threads + 1)


def run(number):
    with contextlib.ExitStack() as stack:
        for lock in range(count):
            if owner[lock] == number:
                stack.enter_context(locks[lock])
        ready.wait()
        if wants[number] is not None:
            with locks[wants[number]]:
                time.sleep(600)
        time.sleep(600)


for number in range(threads):
    name = "t%d-%s" % (number, "stuck" if stuck(number) else "free")
    threading.Thread(target=run, args=(number,), name=name, daemon=True).start()
ready.wait()
time.sleep(0.2)
print("ready", flush=True)
time.sleep(600)
