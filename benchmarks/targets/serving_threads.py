"""What a small server looks like: eight threads that wait for work, and one that computes a little a hundred times a second. Prints "ready"."""

import queue
import threading
import time

work = queue.Queue()


def compute(number):
    return number if number < 2 else compute(number - 1) + compute(number - 2)


for number in range(8):
    threading.Thread(target=work.get, name=f"worker-{number}", daemon=True).start()
print("ready", flush=True)
while True:
    compute(12)
    time.sleep(0.01)
