/* What VisualVM's heap library says of a dump: `class NAME COUNT`, then `retained NAME BYTES ID` of the biggest objects; compiled with its jar.
   Arguments: the dump, and how many of the biggest objects (0: the histogram only). */
import java.io.File;
import java.util.List;
import org.graalvm.visualvm.lib.jfluid.heap.Heap;
import org.graalvm.visualvm.lib.jfluid.heap.HeapFactory;
import org.graalvm.visualvm.lib.jfluid.heap.Instance;
import org.graalvm.visualvm.lib.jfluid.heap.JavaClass;

public class HeapOracle {
    public static void main(String[] args) throws Exception {
        Heap heap = HeapFactory.createHeap(new File(args[0]));
        for (JavaClass one : (List<JavaClass>) heap.getAllClasses())
            System.out.println("class " + one.getName() + " " + one.getInstancesCount());
        int most = Integer.parseInt(args[1]);
        if (most > 0)
            for (Instance one : (List<Instance>) heap.getBiggestObjectsByRetainedSize(most))
                System.out.println("retained " + one.getJavaClass().getName() + " " + one.getRetainedSize() + " " + one.getInstanceId());
    }
}
