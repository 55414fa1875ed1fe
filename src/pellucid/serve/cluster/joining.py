"""Become a driver of the Ray cluster at RAY_ADDRESS, or of the one whose node this machine is. None is ever started."""

import logging
import os
import socket

from pellucid.model.errors import UsageError, os_words

ANSWERS_WITHIN_S = 10.0


def join(tried: str) -> None:
    """UsageError where Ray is not installed, or where there is no cluster."""
    try:
        import ray
    except ImportError:
        raise UsageError(tried=tried, said="ray is not installed", remedy="pip install 'pellucid[serve,ray]'") from None
    address = os.environ.get("RAY_ADDRESS") or "auto"
    reached = False
    try:
        reached = _reach(address)
        ray.init(address, namespace="pellucid", log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, RuntimeError, ValueError) as error:
        where = "of this machine" if address == "auto" else f"at {address}"
        raise UsageError(
            tried=f"join the Ray cluster {where}",
            said=os_words(error) if isinstance(error, OSError) and error.errno else str(error).strip().splitlines()[0],
            # With an address Ray asks for no token by itself, though the cluster may want one (python/ray/_private/worker.py, init, 2.60).
            remedy="somebody answers there; where that cluster wants a token: RAY_AUTH_MODE=token pellucid ..."
            if reached
            else "start one (ray start --head), or set RAY_ADDRESS",
        ) from error


def _reach(address: str) -> bool:
    """Whether somebody listens there, False where the address tells no port; OSError where nobody does: Ray itself would try for minutes."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdecimal() and "/" not in host:
        socket.create_connection((host, int(port)), timeout=ANSWERS_WITHIN_S).close()
        return True
    return False
