"""A command that an agent runs, as a process of its own: `python -m pellucid.agent.started PID WORDS...`, where PID is the agent's.

It ends with the agent, also where that is killed: a look that nobody waits for would go on for ever. The kernel sends the signal of
PR_SET_PDEATHSIG when the thread that started us ends, and not for one that has ended before (prctl(2)).
"""

import ctypes
import os
import runpy
import signal
import sys

_PR_SET_PDEATHSIG = 1


def run() -> None:
    """The rest of the command line is pellucid's."""
    agent = int(sys.argv.pop(1))
    # A shell that started the agent in the background had it ignore Ctrl-C (POSIX, asynchronous lists), and so had we.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGINT)
    if os.getppid() == agent:
        runpy.run_module("pellucid", run_name="__main__")


if __name__ == "__main__":
    run()
