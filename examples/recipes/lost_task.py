"""A pool of which one worker is killed with its task: map() never returns."""

import os
from multiprocessing import Pool


def double(number):
    if number == 10:
        os._exit(9)  # as the kernel's OOM killer would
    return number * 2


if __name__ == "__main__":
    with Pool(processes=3) as pool:
        print(pool.map(double, [5, 10, 20]))
