"""Coroutines and generators that change all the time below others that stay. Each line that calls or awaits names whom, and nothing else.

Prints "ready", then runs until it is killed.
"""
import asyncio


def spin():
    s = 0
    for i in range(40):
        s += i
    return s


def numbers():
    while True:
        yield spin()


def evens(source):
    for _ in source:
        yield spin()


async def left():
    spin()
    await asyncio.sleep(0)
    spin()


async def right():
    spin()
    for _ in evens(numbers()):
        break


async def both():
    await left()
    await right()


async def outer():
    await both()


async def main():
    print("ready", flush=True)
    while True:
        await outer()


asyncio.run(main())
