"""Text of other processes for people: what would move a cursor, break a line or turn the direction of writing is spelled out.

One table for the terminal, the page, logs and files: what `str.isprintable` says no to (Unicode's categories Other and Separator but for the space:
control characters of both sets, bidirectional marks, line separators, lone surrogates). A page that only ever sets `textContent` is safe from
HTML without this; a right-to-left mark in a thread's name would still reorder the words around it.
"""


def inert(text: str) -> str:
    r"""`text` with control characters, escape sequences and direction marks as `\x1b`, `\u202e`."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _spelled(ord(char)) for char in text)


def lines(text: str) -> str:
    """The same for output of many lines: line breaks and tabs stay."""
    return "\n".join("\t".join(map(inert, line.split("\t"))) for line in text.split("\n"))


def _spelled(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
