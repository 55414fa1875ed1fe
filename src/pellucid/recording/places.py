"""The name of a recording that was given none."""

import os
import time

from pellucid.home import recordings
from pellucid.model.errors import UsageError, os_words
from pellucid.recording.schema import SUFFIX


def new(what: str) -> str:
    """The path of a recording that is not there yet, in its folder, which is made. Raises UsageError."""
    base = recordings()
    try:
        os.makedirs(base, mode=0o700, exist_ok=True)
    except OSError as error:
        raise UsageError(tried=f"make the folder {base}", said=os_words(error), remedy="-o FILE") from None
    return os.path.join(base, f"{what}-{time.strftime('%Y%m%d-%H%M%S')}{SUFFIX}")
