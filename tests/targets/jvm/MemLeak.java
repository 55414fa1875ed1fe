/* Keys without equals() and hashCode() go into a map that lives for ever: "the same" key is stored again and again.
   Arguments: how many to put, milliseconds to sleep after each 10,000, and after how many to collect. Prints "ready" when it holds still.
   With 0 it puts until memory ends: it prints "ready" at first, and begins when there is something on its stdin. */
import java.util.Map;

public class MemLeak {
    public final String key;

    public MemLeak(String key) {
        this.key = key;
    }

    public static void main(String[] args) throws Exception {
        long count = Long.parseLong(args[0]), pause = args.length > 1 ? Long.parseLong(args[1]) : 0;
        long collect = args.length > 2 ? Long.parseLong(args[2]) : 0;
        Map<Object, Object> map = System.getProperties();
        if (count == 0) {
            System.out.println("ready");
            System.in.read();
        }
        for (long n = 1; count == 0 || n <= count; n++) {
            map.put(new MemLeak("key"), "value");
            if (pause > 0 && n % 10_000 == 0) Thread.sleep(pause);
            if (collect > 0 && n % collect == 0) System.gc();
        }
        System.out.println("ready");
        System.in.read();
    }
}
