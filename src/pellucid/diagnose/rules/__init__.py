"""One rule a file. `ALL` is the list that the engine runs; a new rule is a file, a line here and a pair of fixtures."""

from pellucid.diagnose.engine import Rule
from pellucid.diagnose.rules.close_wait import keeps_closed_connections
from pellucid.diagnose.rules.concatenation import text_is_copied_again_and_again
from pellucid.diagnose.rules.deadlock import waits_for_ever
from pellucid.diagnose.rules.deleted_file import holds_a_deleted_file
from pellucid.diagnose.rules.descriptors import runs_out_of_descriptors
from pellucid.diagnose.rules.disk_full import writes_to_a_full_disk
from pellucid.diagnose.rules.event_loop import event_loop_is_blocked
from pellucid.diagnose.rules.file_lock import waits_for_a_file_lock
from pellucid.diagnose.rules.gc_churn import collects_garbage_all_the_time
from pellucid.diagnose.rules.gil import waits_for_the_gil
from pellucid.diagnose.rules.gil_starvation import starves_for_the_gil
from pellucid.diagnose.rules.holder_stopped import waits_for_who_is_stopped
from pellucid.diagnose.rules.hot_loop import runs_in_a_hot_loop
from pellucid.diagnose.rules.idle import is_idle
from pellucid.diagnose.rules.jvm_gc_share import collections_take_its_time
from pellucid.diagnose.rules.jvm_humongous import allocates_humongous_objects
from pellucid.diagnose.rules.jvm_metaspace import metaspace_grows
from pellucid.diagnose.rules.jvm_old_generation import old_generation_fills
from pellucid.diagnose.rules.jvm_silent import jvm_does_not_answer
from pellucid.diagnose.rules.kernel_wait import waits_in_the_kernel
from pellucid.diagnose.rules.lock import waits_for_a_lock
from pellucid.diagnose.rules.lock_convoy import threads_queue_for_a_lock
from pellucid.diagnose.rules.memory_grows import memory_grows
from pellucid.diagnose.rules.memory_limit import is_at_the_limit_of_its_memory
from pellucid.diagnose.rules.on_cpu import runs_on_cpu
from pellucid.diagnose.rules.orphan import lost_its_parent
from pellucid.diagnose.rules.oversubscribed import wants_more_cpus_than_there_are
from pellucid.diagnose.rules.pipe import waits_for_a_pipe
from pellucid.diagnose.rules.poll import waits_for_several
from pellucid.diagnose.rules.repeated_errors import fails_again_and_again
from pellucid.diagnose.rules.rising_descriptors import descriptors_become_more
from pellucid.diagnose.rules.sleeps import sleeps
from pellucid.diagnose.rules.slow_regex import regular_expression_blows_up
from pellucid.diagnose.rules.socket_peer import waits_for_a_socket_peer
from pellucid.diagnose.rules.sqlite_lock import waits_for_sqlite
from pellucid.diagnose.rules.stopped import is_stopped
from pellucid.diagnose.rules.stuck_child import children_wait_for_ever
from pellucid.diagnose.rules.swapped import is_swapped_out
from pellucid.diagnose.rules.tracer import is_being_traced
from pellucid.diagnose.rules.unaccepted import leaves_connections_unaccepted
from pellucid.diagnose.rules.uncollected import leaves_children_uncollected
from pellucid.diagnose.rules.unserved_port import holds_a_port_it_does_not_serve
from pellucid.diagnose.rules.wait_child import waits_for_a_child
from pellucid.diagnose.rules.wants_cpu import wants_a_cpu
from pellucid.diagnose.rules.zombie import is_a_zombie

ALL: tuple[Rule, ...] = (
    is_a_zombie,
    is_stopped,
    jvm_does_not_answer,
    waits_for_ever,
    children_wait_for_ever,
    waits_for_who_is_stopped,
    event_loop_is_blocked,
    waits_for_a_socket_peer,
    leaves_connections_unaccepted,
    waits_for_a_lock,
    waits_for_the_gil,
    waits_for_a_child,
    waits_for_a_pipe,
    waits_for_a_file_lock,
    waits_in_the_kernel,
    waits_for_sqlite,
    waits_for_several,
    regular_expression_blows_up,
    text_is_copied_again_and_again,
    collects_garbage_all_the_time,
    threads_queue_for_a_lock,
    starves_for_the_gil,
    runs_in_a_hot_loop,
    runs_on_cpu,
    wants_a_cpu,
    sleeps,
    writes_to_a_full_disk,
    runs_out_of_descriptors,
    descriptors_become_more,
    fails_again_and_again,
    keeps_closed_connections,
    holds_a_port_it_does_not_serve,
    lost_its_parent,
    is_being_traced,
    wants_more_cpus_than_there_are,
    leaves_children_uncollected,
    holds_a_deleted_file,
    is_at_the_limit_of_its_memory,
    memory_grows,
    is_swapped_out,
    old_generation_fills,
    collections_take_its_time,
    metaspace_grows,
    allocates_humongous_objects,
    is_idle,
)
