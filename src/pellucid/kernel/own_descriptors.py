"""How many files this program may open: who follows hundreds of processes needs some thousand, and most shells and systemd begin with 1024."""

import resource


def allow_more() -> None:
    """Up to what the hard limit allows (getrlimit(2)). What is started later inherits it: a program that uses select(2) can't have numbers from 1024 on."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def most() -> int:
    """The limit that holds now."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
