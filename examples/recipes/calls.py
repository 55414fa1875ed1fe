"""The same work, as one long loop and as a million small calls."""


def add(a, b):
    return a + b


def many_calls(n):
    total = 0
    for i in range(n):
        total = add(total, i)
    return total


def one_call(n):
    total = 0
    for i in range(n):
        total = total + i * 2 // 2 + i % 3 - i % 3
    return total


many_calls(1_000_000)
one_call(1_000_000)
