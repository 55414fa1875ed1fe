"""Text of other processes for people: what would move a cursor, break a line or turn the direction of writing is spelled out.

A page that only ever sets `textContent` is safe from HTML without this; a right-to-left mark in a thread's name would still reorder the
words around it.
"""


def inert(text: str) -> str:
    r"""`text` with control characters, escape sequences and direction marks as `\x1b`, `\u202e`."""
    if text.isprintable():
        return text
    return "".join(_spelled(char) for char in text)


def lines(text: str) -> str:
    """The same for output of many lines: line breaks and tabs stay."""
    return "\n".join("\t".join(map(inert, line.split("\t"))) for line in text.split("\n"))


def _spelled(char: str) -> str:
    if char.isprintable():
        return char
    return f"\\x{ord(char):02x}" if ord(char) < 256 else f"\\u{ord(char):04x}"
