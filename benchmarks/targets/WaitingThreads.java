// waiting_threads.py in Java: N - 1 threads that wait, a fifth each, and two of them that hold what the other needs.
// Usage: java WaitingThreads.java N; prints "ready".

import java.util.concurrent.CountDownLatch;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.Semaphore;
import java.util.concurrent.locks.ReentrantLock;

public class WaitingThreads {
    interface Body {
        void run() throws Exception;
    }

    static final ReentrantLock lock = new ReentrantLock();
    static final LinkedBlockingQueue<Integer> items = new LinkedBlockingQueue<>();
    static final CountDownLatch started = new CountDownLatch(1);
    static final Semaphore door = new Semaphore(1);

    static void hold() throws Exception {
        lock.lock();
        Thread.sleep(600_000);
    }

    static void want() {
        lock.lock();
    }

    static void take() throws Exception {
        items.take();
    }

    static void listen() throws Exception {
        started.await();
    }

    static void enter() throws Exception {
        door.acquire();
        Thread.sleep(600_000);
    }

    static void pay(ReentrantLock one, ReentrantLock other, CyclicBarrier both) throws Exception {
        one.lock();
        both.await();
        other.lock();
    }

    static void start(String name, Body body) {
        Thread thread = new Thread(null, () -> {
            try {
                body.run();
            } catch (Exception error) {
                throw new RuntimeException(error);
            }
        }, name, 256 * 1024);
        thread.setDaemon(true);
        thread.start();
    }

    public static void main(String[] arguments) throws Exception {
        Body[] bodies = {WaitingThreads::hold, WaitingThreads::want, WaitingThreads::take, WaitingThreads::listen, WaitingThreads::enter};
        int count = Integer.parseInt(arguments[0]);
        for (int number = 0; number < count - 3; number++) start("worker-" + number, bodies[number % 5]);
        ReentrantLock a = new ReentrantLock(), b = new ReentrantLock();
        CyclicBarrier both = new CyclicBarrier(2);
        start("pay-1", () -> pay(a, b, both));
        start("pay-2", () -> pay(b, a, both));
        Thread.sleep(500);
        System.out.println("ready");
        Thread.sleep(600_000);
    }
}
