"""How `module:function` is told from NAME:VERSION, and what the model is called then. Nothing is imported for it."""


def plain(name: str) -> str:
    """The name of the model that a function is."""
    return name.rpartition(".")[2]


def is_callable(wanted: str) -> bool:
    """Whether this is `module:function` and not NAME:VERSION."""
    module, colon, name = wanted.partition(":")
    return bool(colon) and all(part.isidentifier() for part in (*module.split("."), *name.split(".")))
