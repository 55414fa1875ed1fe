"""Who holds objects, and which types of them become more."""

from msgspec import Struct

from pellucid.model.gap import Gap


class Hold(Struct, frozen=True):
    """One step of the way on which an object is held: what of the holder before it leads here, and the `type` of what it leads to.

    `how`: module, global, class, function, attribute, key, item, closure, default, local, lru_cache, outside (by C code), other. `name` is
    "" where it has none, or is a value that was not asked for. `where`: of a key its type; of a closure, a default or a local its function;
    of an lru_cache its maxsize.
    """

    how: str
    name: str
    type: str
    where: str = ""


class Suspect(Struct, frozen=True, kw_only=True):
    """Somebody who holds much, or ever more: `holder` is the way to the container, `held_count` objects of `held_type` hang on it.

    `retained_bytes` would go with it: `share` of all. The last four are known from two looks on; `steady`: it grew in each interval of at
    least two, and no slower in the last.
    """

    holder: tuple[Hold, ...]
    holder_type: str
    held_type: str
    held_count: int
    retained_bytes: int
    share: float
    length: int | None
    keys: str
    limit: int | None
    sentence: str
    grown_count: int | None = None
    grown_bytes: int | None = None
    per_s: float | None = None
    steady: bool = False


class TypeGrowth(Struct, frozen=True):
    """How a type grew between two looks: now `count` objects of `bytes`, so many more than before."""

    type: str
    own: bool
    count: int
    bytes: int
    grown_count: int
    grown_bytes: int


class Growing(Struct, frozen=True):
    """`types` that became more within `seconds`, by bytes; `suspects` who hold them, most first. `python_bytes` is the growth of all Python
    objects, `private_bytes` that of RssAnon and VmSwap. `paused_s`: for how long the process stood still, both times together.
    """

    seconds: float
    types: tuple[TypeGrowth, ...]
    suspects: tuple[Suspect, ...]
    python_bytes: int
    private_bytes: int
    paused_s: float
    gaps: tuple[Gap, ...]
