/* Threads in each state that a dump can tell. Prints "ready" when all are in it, and ends with its stdin. */
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.BooleanSupplier;

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
        Thread monitorWaiter = start("monitor-waiter", States::wantMonitor);
        Thread lockWaiter = start("lock-waiter", States::wantLock);
        Thread taker = start("taker", States::take);
        if (args.length > 0 && args[0].equals("deadlock")) {
            CountDownLatch met = new CountDownLatch(2), locked = new CountDownLatch(2);
            Thread leftRight = start("left-right", () -> both(left, right, met));
            Thread rightLeft = start("right-left", () -> both(right, left, met));
            Thread firstSecond = start("first-second", () -> both(first, second, locked));
            Thread secondFirst = start("second-first", () -> both(second, first, locked));
            until(leftRight, Thread.State.BLOCKED, () -> true);
            until(rightLeft, Thread.State.BLOCKED, () -> true);
            until(firstSecond, Thread.State.WAITING, () -> second.hasQueuedThread(firstSecond));
            until(secondFirst, Thread.State.WAITING, () -> first.hasQueuedThread(secondFirst));
        }
        if (args.length > 0 && args[0].equals("spin")) start("spinner", () -> { for (;;) spun++; });
        until(monitorWaiter, Thread.State.BLOCKED, () -> true);
        until(lockWaiter, Thread.State.WAITING, () -> lock.hasQueuedThread(lockWaiter));
        until(taker, Thread.State.WAITING, () -> true);
        System.out.println("ready");
        System.in.read();
    }

    /* A thread that waits for the latch is WAITING too: for a lock it is queued besides. */
    static void until(Thread thread, Thread.State state, BooleanSupplier queued) throws Exception {
        while (thread.getState() != state || !queued.getAsBoolean()) Thread.sleep(5);
    }
}
