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


def inert_json(document: bytes) -> bytes:
    """The same JSON, in which such characters are escapes: it is printed on terminals, too. An encoder escapes only what it must (RFC 8259, 7)."""
    if document.isascii():
        return document
    text = document.decode()
    for char in {char for char in set(text) if not char.isprintable()}:
        text = text.replace(char, _escaped(ord(char)))
    return text.encode()


def _escaped(code: int) -> str:
    """As JSON has it: beyond the first 65,536 characters two halves of a pair."""
    if code < 0x10000:
        return f"\\u{code:04x}"
    return f"\\u{0xD800 + (code - 0x10000 >> 10):04x}\\u{0xDC00 + (code - 0x10000 & 0x3FF):04x}"


def _spelled(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
