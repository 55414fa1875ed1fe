/* A thread runs a counted loop that C2 compiles without a safepoint poll, given -XX:-UseCountedLoopSafepoints -XX:LoopStripMiningIter=0. Prints "ready". */
public class Unpolled {
    static int sink;

    static int count(int seed) {
        int x = seed;
        for (int i = 0; i < Integer.MAX_VALUE; i++) x = x * 31 + i / (x | 1);
        return x;
    }

    public static void main(String[] args) throws Exception {
        Thread thread = new Thread(() -> { for (int n = 0; ; n++) sink += count(n); }, "counting");
        thread.setDaemon(true);
        thread.start();
        System.out.println("ready");
        System.in.read();
    }
}
