"""What the terminal of whoever asks takes: the command line decides by it here, and a client tells it to the agent that prints for it elsewhere."""

import os
import sys


def coloured() -> bool:
    """By NO_COLOR, FORCE_COLOR, CLICOLOR_FORCE, TERM=dumb and whether stdout is a terminal, in that order."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR") or os.environ.get("CLICOLOR_FORCE"):
        return True
    return os.environ.get("TERM") != "dumb" and sys.stdout.isatty()
