"""Which kind of memory trouble it is: one rule a category, each a pure function from `MemorySeen` to findings.

Growth is claimed only from a line through three or more samples whose slope is more than three times its error, and that has not
levelled off. In a short look it is only possible that it goes on: a warm-up looks the same.
"""

from collections.abc import Callable, Iterator

from msgspec.structs import replace

from pellucid.diagnose.memory.counts import leaks_descriptors_threads_or_mappings
from pellucid.diagnose.memory.fragmentation import keeps_what_it_freed
from pellucid.diagnose.memory.growth import lines
from pellucid.diagnose.memory.heap_leak import heap_grows
from pellucid.diagnose.memory.native_leak import native_memory_grows
from pellucid.diagnose.memory.page_cache import is_page_cache_or_shared
from pellucid.diagnose.memory.performance import loses_time
from pellucid.diagnose.memory.resource_limit import is_near_a_limit
from pellucid.diagnose.memory.steady import holds_still
from pellucid.model import CONFIDENCES, SEVERITIES, Finding
from pellucid.model.memory import MemorySeen

Rule = Callable[[MemorySeen], Iterator[Finding]]

ALL: tuple[Rule, ...] = (
    is_near_a_limit,
    heap_grows,
    native_memory_grows,
    keeps_what_it_freed,
    leaks_descriptors_threads_or_mappings,
    loses_time,
    is_page_cache_or_shared,
)


def judge(seen: MemorySeen) -> tuple[MemorySeen, tuple[Finding, ...]]:
    """The same with its trends, and the findings: worst first; where no rule has one, what the memory consists of."""
    seen = replace(seen, trends=lines(seen))
    found = [finding for rule in ALL for finding in rule(seen)]
    if all(finding.severity == "info" for finding in found):
        found += holds_still(seen)
    order = sorted(found, key=lambda one: (SEVERITIES.index(one.severity), CONFIDENCES.index(one.confidence)))
    return seen, tuple(order)
