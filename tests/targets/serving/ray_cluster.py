"""A Ray cluster of two nodes with one CPU each, on this machine, until its stdin ends. Prints the address, or why there is none."""
import os
import sys

os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_TMPDIR=sys.argv[1])
os.mkdir(os.path.join(sys.argv[1], "ray"))

import ray
from ray.cluster_utils import Cluster

node = {"num_cpus": 1, "object_store_memory": 100_000_000, "include_dashboard": False}
cluster = Cluster(initialize_head=True, head_node_args=node)
cluster.add_node(**node)
print(cluster.address, flush=True)
sys.stdin.read()
cluster.shutdown()
