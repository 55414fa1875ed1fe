"""A transformer that fails as it is told by its input: column `do` names what happens to the worker that predicts the row."""
import ctypes
import os
import signal
import sys
import threading
import time

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

NEVER = threading.Lock()
NEVER.acquire()
CACHE, STATISTICS, REFRESHING = threading.Lock(), threading.Lock(), threading.Event()


def refresh():
    with STATISTICS:
        REFRESHING.set()
        with CACHE:
            pass


class Faulty(TransformerMixin, BaseEstimator):
    def fit(self, rows, labels=None):
        self.fitted_ = True
        return self

    def transform(self, rows):
        for what in rows["do"]:
            word, _, argument = what.partition(" ")
            getattr(self, word)(argument)
        return rows[["x"]].to_numpy(dtype=float)

    def nothing(self, argument):
        pass

    def lock(self, argument):
        with NEVER:
            pass

    def embrace(self, argument):
        with CACHE:
            threading.Thread(target=refresh, name="refresher", daemon=True).start()
            REFRESHING.wait()
            with STATISTICS:
                pass

    def sleep(self, argument):
        time.sleep(float(argument))

    def spin(self, argument):
        until = time.monotonic() + float(argument)
        while time.monotonic() < until:
            sum(range(1000))

    def hold_gil(self, argument):
        sum(range(1 << 40))

    def open_all(self, argument):
        try:
            while True:
                HOARD.append(os.dup(1))
        except OSError:
            pass

    def fail(self, argument):
        raise ValueError("the transformer can't have this")

    def leave(self, argument):
        sys.exit(3)

    def die(self, argument):
        os.kill(os.getpid(), getattr(signal, argument))

    def hide(self, argument):
        ctypes.CDLL(None).prctl(4, 0)

    def grow(self, argument):
        self.kept = bytearray(int(argument) << 20)
        for place in range(0, len(self.kept), 4096):
            self.kept[place] = 1

    def leak(self, argument):
        HOARD.extend(Crumb(number) for number in range(int(argument)))


HOARD = []


class Crumb:
    def __init__(self, number):
        self.number = number
        self.filling = "x" * 200 + str(number)
