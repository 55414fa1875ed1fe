"""What grows in a heap, in words: the types that became more, the program's own first, and who holds them."""

from pellucid.diagnose.heap import way
from pellucid.diagnose.heap_holders import weak
from pellucid.diagnose.sizes import size
from pellucid.model.holder import Growing, Suspect, TypeGrowth

PYTHON = 0.6
"""So much of the growth of private memory has to be of Python objects to be told by them."""
_TYPES = 3
_LEAST = 10


def in_words(found: Growing) -> str:
    """`in 1.2 s became more: Session +20,398, str +43,454. They hang on class Registry → _cache (dict), which has 61,400 Session now, +20,398`

    Made to stand behind a colon.
    """
    told = f"{types(found.types, found.seconds)}{holder(found.suspects)}" if found.types else ""
    if not is_python(found.python_bytes, found.private_bytes):
        told = native(found.python_bytes, found.private_bytes) + (f" {told}" if told else "")
    return told[:1].lower() + told[1:].rstrip(".")


def is_python(python_bytes: int, private_bytes: int) -> bool:
    """Whether Python objects are the most of what came."""
    return private_bytes > 0 and python_bytes >= PYTHON * private_bytes


def native(python_bytes: int, private_bytes: int) -> str:
    """Where they are not."""
    if private_bytes <= 0:
        return "Private memory did not grow between two censuses."
    return (
        f"Of {size(private_bytes)} that came between two censuses, Python objects are only {size(max(0, python_bytes))}:"
        " the rest is native memory, or freed and not returned."
    )


def named(types_: tuple[TypeGrowth, ...]) -> TypeGrowth | None:
    """The type to name: the largest of the program's own, else the largest."""
    own = [one for one in types_ if one.own and one.grown_count >= _LEAST]
    return max(own, key=lambda one: one.grown_bytes) if own else next(iter(types_), None)


def types(types_: tuple[TypeGrowth, ...], seconds: float) -> str:
    first = named(types_)
    ordered = [*([first] if first is not None else []), *(one for one in types_ if one is not first)]
    told = ", ".join(f"{one.type} +{one.grown_count:,}" for one in ordered[:_TYPES])
    return f"In {seconds:.1f} s became more: {told}."


def holder(suspects: tuple[Suspect, ...]) -> str:
    """The way to the container that gained most, as the code names it, and how many it has now; "" where none was found."""
    if not suspects:
        return ""
    first = next((one for one in suspects if not weak(one)), suspects[0])
    where = way(first.holder, first.holder_type)
    return f" They hang on {where}, which has {first.held_count:,} {first.held_type} now, {first.grown_count or 0:+,}."
