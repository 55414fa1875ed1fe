"""Names of classes as the JVM writes them, and as Java does."""

_ELEMENTS = {
    "Z": "boolean", "B": "byte", "C": "char", "S": "short", "I": "int", "J": "long", "F": "float", "D": "double"
}  # fmt: skip


def spelt(name: str) -> str:
    """`java/lang/String` or `[Ljava/lang/String;` (JVM Specification 4.3.2) as Java spells it."""
    depth = len(name) - len(name.lstrip("["))
    if depth:
        name = name[depth:]
        name = name[1:].removesuffix(";") if name.startswith("L") else _ELEMENTS.get(name, name)
    return name.replace("/", ".") + "[]" * depth
