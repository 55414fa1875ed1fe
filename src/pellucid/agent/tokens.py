"""The secret that an agent and its clients share: 32 random bytes, in a file that only its owner may read."""

import os
import secrets

from pellucid import home
from pellucid.model.errors import UsageError, os_words


def token(path: str) -> str:
    """The token in the file at `path`, made when there is none. Raises UsageError: others may read it, or it can't be read or written."""
    try:
        if not os.path.exists(path):
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            home.write_private(path, secrets.token_urlsafe(32).encode() + b"\n")
        with open(path, encoding="ascii") as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                raise UsageError(
                    tried=f"use the token in {path}", said="others may read it", remedy=f"chmod 600 {path}"
                )
            found = file.read(4096).strip()
    except (OSError, UnicodeDecodeError) as error:
        said = os_words(error) if isinstance(error, OSError) else "it is not ASCII"
        raise UsageError(
            tried=f"read the token in {path}", said=said, remedy=f"rm {path}  (a new one is made)"
        ) from None
    if len(found) < 16:
        raise UsageError(tried=f"use the token in {path}", said="it is shorter than 16 characters", remedy=f"rm {path}")
    return found
