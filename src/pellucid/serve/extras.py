"""What to say when the libraries of the server are not installed: they are an extra, and the rest of pellucid works without them."""

from pellucid.model.errors import UsageError

PREDICT = ("sklearn", "pandas", "skops")
SERVE = (*PREDICT, "starlette", "uvicorn", "httptools", "uvloop")


def need(command: str, libraries: tuple[str, ...]) -> None:
    """Look for libraries without importing them. UsageError with the command that installs them where one is missing."""
    from importlib.util import find_spec

    missing = [name for name in libraries if find_spec(name) is None]
    if missing:
        raise UsageError(
            tried=f"run `pellucid {command}`",
            said=f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed",
            remedy="pip install 'pellucid[serve]'",
        )
