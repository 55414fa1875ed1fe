"""What a dump says, in sentences: who holds how much, by which way, and what that may mean.

That many keys of one class are equal field by field, and yet are keys of their own, makes it possible that the class has no equals() and
hashCode(): no more than possible, since a dump has no methods. All else is arithmetic over what the dump holds.
"""

from msgspec.structs import replace

from pellucid.diagnose.sizes import size
from pellucid.model.heap import Hold
from pellucid.model.heap_jvm import HeldType, JavaHeapReport, JavaSuspect

_ALIKE = 0.5
_MOST_STEPS = 8


def sentence(suspect: JavaSuspect) -> str:
    """One suspect, with its way."""
    whole = f"{suspect.share:.0%} of the heap ({size(suspect.retained_bytes)})"
    if suspect.key_types:
        keys, values = suspect.key_types[0], suspect.value_types[0] if suspect.value_types else None
        what = f"{whole} hang on a map with {suspect.length or 0:,} entries, a {suspect.holder_type}"
        what += f": {keys.count:,} of its keys are {keys.type}" + (
            f", its values {_kinds(suspect.value_types)}" if values else ""
        )
    elif suspect.length is not None:
        what = f"{whole} hang on a {suspect.holder_type} of {suspect.length:,} elements: {_kinds(suspect.value_types)}"
    elif suspect.held:
        first = suspect.held[0]
        what = f"{whole} hang on one {suspect.holder_type}: {first.count:,} {first.type} with {size(first.bytes)}"
    else:
        what = f"{whole} are one {suspect.holder_type}"
    return f"{what}. It is held by {way(suspect.holder)}."


def hint(suspect: JavaSuspect) -> str:
    """What may be behind it; "" where there is nothing to say."""
    told = []
    if suspect.sampled >= 2 and suspect.alike >= _ALIKE * suspect.sampled and suspect.key_types:
        name = suspect.key_types[0].type
        told.append(
            f"possible: {suspect.alike:,} of {suspect.sampled:,} keys that were compared are equal to another one field by field, and yet each is "
            f"a key of its own. Has {name} equals() and hashCode()? Without them every put() adds an entry."
        )
    if suspect.old_names:
        told.append(
            "Since JDK 9 a Properties keeps its entries in a ConcurrentHashMap: what older texts call java.util.Hashtable$Entry is "
            "java.util.concurrent.ConcurrentHashMap$Node now."
        )
    if any(
        one.how == "attribute" and one.name in {"threadLocals", "inheritableThreadLocals"} for one in suspect.holder
    ):
        told.append(
            "A thread local lives as long as its thread, in a pool for ever: remove() it at the end of each piece of work."
        )
    return " ".join(told)


def way(steps: tuple[Hold, ...]) -> str:
    """`static java.lang.System.props → java.util.Properties .map → java.util.concurrent.ConcurrentHashMap`."""
    if not steps:
        return "nothing that a root reaches"
    first, *rest = steps
    parts = [] if rest and rest[0].how == "static" else [f"{first.type} ({first.name})"]
    for at, step in enumerate(rest):
        match step.how:
            case "static":
                parts.append(f"static {step.name} → {step.type}")
            case "attribute":
                parts.append(f".{step.name} → {step.type}")
            case "item":
                parts.append(f"[{step.name}] → {step.type}")
            case _:
                parts.append(f"({step.how}) → {step.type}")
        if at == _MOST_STEPS - 1 and len(rest) > _MOST_STEPS + 1:
            parts.append(f"… {len(rest) - _MOST_STEPS - 1} more steps …")
            parts.append(f"{rest[-1].type}")
            break
    return " ".join(parts)


def _kinds(types: tuple[HeldType, ...]) -> str:
    return ", ".join(f"{one.count:,} {one.type}" for one in types[:2])


def told(report: JavaHeapReport) -> JavaHeapReport:
    """The same report, its suspects with their sentences."""
    return replace(report, suspects=tuple(replace(suspect, sentence=sentence(suspect)) for suspect in report.suspects))
