/* A list that only a local variable holds, in a thread whose name is its first argument. Prints "ready". */
import java.util.ArrayList;
import java.util.List;

public class LocalLeak {
    static void load() {
        List<byte[]> orders = new ArrayList<>();
        for (int n = 0; n < 5_000; n++) orders.add(new byte[1_000]);
        System.out.println("ready");
        try {
            Thread.sleep(1_000_000);
        } catch (InterruptedException end) {
            System.out.println(orders.size());
        }
    }

    public static void main(String[] args) throws Exception {
        Thread thread = new Thread(LocalLeak::load, args[0]);
        thread.start();
        thread.join();
    }
}
