/* A heap of many small objects: orders in a map, chained by a hundred. Argument: how many. Prints "ready" and ends with its stdin. */
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

public class BigHeap {
    static final class Order {
        final int id;
        final String customer;
        final double[] prices = new double[2];
        Order next;

        Order(int id) {
            this.id = id;
            this.customer = "customer " + id;
        }
    }

    public static void main(String[] args) throws Exception {
        int count = Integer.parseInt(args[0]);
        Map<Integer, Order> orders = new HashMap<>();
        List<int[]> pairs = new ArrayList<>();
        Order before = null;
        for (int n = 0; n < count; n++) {
            Order order = new Order(n);
            order.next = n % 100 == 0 ? null : before;
            before = order;
            orders.put(n, order);
            if (n % 3 == 0) pairs.add(new int[] {n, n});
        }
        System.out.println("ready");
        System.in.read();
        System.out.println(orders.size() + pairs.size());
    }
}
