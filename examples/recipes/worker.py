"""Two threads that take the same two locks, each in its own order."""

import threading
import time

accounts = {"ann": threading.Lock(), "bob": threading.Lock()}


def transfer(source, target):
    with accounts[source]:
        time.sleep(0.1)
        with accounts[target]:
            pass


threading.Thread(target=transfer, args=("ann", "bob"), name="transfer-0").start()
threading.Thread(target=transfer, args=("bob", "ann"), name="transfer-1").start()
