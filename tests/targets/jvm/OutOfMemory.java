/* Dies of the OutOfMemoryError that its argument names: limit, big, direct, overhead (with the Parallel collector), heap; caught: survives one, and has another when a line comes. */
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

public class OutOfMemory {
    public static void main(String[] args) throws Exception {
        List<Object> held = new ArrayList<>();
        switch (args[0]) {
            case "limit":
                held.add(new int[Integer.MAX_VALUE]);
                break;
            case "big":
                held.add(new int[200_000_000]);
                break;
            case "caught":
                try {
                    held.add(new int[200_000_000]);
                } catch (OutOfMemoryError error) {
                    System.out.println("ready");
                }
                System.in.read();
                held.add(new int[200_000_000]);
                break;
            case "direct":
                for (;;) held.add(ByteBuffer.allocateDirect(10 << 20));
            case "overhead":
                Map<Object, Object> map = new HashMap<>();
                for (int n = 0; ; n++) map.put("k" + n, "v" + n);
            default:
                for (;;) held.add(new byte[1 << 20]);
        }
    }
}
