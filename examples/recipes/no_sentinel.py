"""A consumer that waits for one more item, when the producer has ended without saying so."""

from multiprocessing import Process, Queue


def creator(data, q):
    for item in data:
        q.put(item)


def consumer(q):
    while (item := q.get()) != -1:
        print(item * 2, flush=True)


if __name__ == "__main__":
    q = Queue()
    one = Process(target=creator, args=([5, 10, 13], q))
    two = Process(target=consumer, args=(q,))
    one.start()
    two.start()
    one.join()
    two.join()
