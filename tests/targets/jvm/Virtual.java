/* Virtual threads (since Java 21): ten that sleep, one that runs on its carrier. Prints "ready", or "none" where there are no such threads. */
import java.lang.reflect.Method;

public class Virtual {
    static volatile long spun;

    static void park() {
        try {
            Thread.sleep(1_000_000);
        } catch (InterruptedException end) {
            return;
        }
    }

    public static void main(String[] args) throws Exception {
        Method start;
        try {
            start = Thread.class.getMethod("startVirtualThread", Runnable.class);
        } catch (NoSuchMethodException none) {
            System.out.println("none");
            return;
        }
        for (int n = 0; n < 10; n++) start.invoke(null, (Runnable) Virtual::park);
        start.invoke(null, (Runnable) () -> { for (;;) spun++; });
        Thread.sleep(300);
        System.out.println("ready");
        System.in.read();
    }
}
