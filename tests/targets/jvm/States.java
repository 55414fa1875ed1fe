/* Threads in each state that a dump can tell. Prints "ready" when all are in it, and ends with its stdin. */
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.locks.ReentrantLock;

public class States {
    static final Object monitor = new Object(), left = new Object(), right = new Object();
    static final ReentrantLock lock = new ReentrantLock(), first = new ReentrantLock(), second = new ReentrantLock();
    static final LinkedBlockingQueue<String> queue = new LinkedBlockingQueue<>();
    static volatile long spun;

    static Thread start(String name, Runnable work) {
        Thread thread = new Thread(work, name);
        thread.setDaemon(true);
        thread.start();
        return thread;
    }

    static void sleep() {
        try {
            Thread.sleep(1_000_000);
        } catch (InterruptedException end) {
            return;
        }
    }

    static void holdMonitor(CountDownLatch held) {
        synchronized (monitor) {
            held.countDown();
            sleep();
        }
    }

    static void wantMonitor() {
        synchronized (monitor) {
            sleep();
        }
    }

    static void holdLock(CountDownLatch held) {
        lock.lock();
        held.countDown();
        sleep();
    }

    static void wantLock() {
        lock.lock();
    }

    static void take() {
        try {
            queue.take();
        } catch (InterruptedException end) {
            return;
        }
    }

    static void both(Object one, Object other, CountDownLatch met) {
        synchronized (one) {
            met.countDown();
            await(met);
            synchronized (other) {
                sleep();
            }
        }
    }

    static void both(ReentrantLock one, ReentrantLock other, CountDownLatch met) {
        one.lock();
        met.countDown();
        await(met);
        other.lock();
    }

    static void await(CountDownLatch latch) {
        try {
            latch.await();
        } catch (InterruptedException end) {
            throw new IllegalStateException(end);
        }
    }

    public static void main(String[] args) throws Exception {
        CountDownLatch held = new CountDownLatch(2);
        start("monitor-holder", () -> holdMonitor(held));
        start("lock-holder", () -> holdLock(held));
        held.await();
        Thread[] waiting = {
            start("monitor-waiter", States::wantMonitor),
            start("lock-waiter", States::wantLock),
            start("taker", States::take),
        };
        if (args.length > 0 && args[0].equals("deadlock")) {
            CountDownLatch met = new CountDownLatch(2), locked = new CountDownLatch(2);
            Thread[] knot = {
                start("left-right", () -> both(left, right, met)),
                start("right-left", () -> both(right, left, met)),
                start("first-second", () -> both(first, second, locked)),
                start("second-first", () -> both(second, first, locked)),
            };
            until(knot);
        }
        if (args.length > 0 && args[0].equals("spin")) start("spinner", () -> { for (;;) spun++; });
        until(waiting);
        System.out.println("ready");
        System.in.read();
    }

    static void until(Thread[] threads) throws Exception {
        for (Thread thread : threads)
            while (thread.getState() == Thread.State.RUNNABLE || thread.getState() == Thread.State.NEW) Thread.sleep(5);
    }
}
