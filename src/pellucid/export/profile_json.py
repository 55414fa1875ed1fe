"""A profile as JSON: what `pellucid profile --json` prints, `model.report.ProfileReport`."""

import msgspec

from pellucid.export.plain_profile import encodable
from pellucid.inert import inert_json
from pellucid.model.hot import reported
from pellucid.model.profile import Profile
from pellucid.model.report import ProfileReport


def encode(profile: Profile) -> bytes:
    """One line of JSON, ending in a newline."""
    return inert_json(msgspec.json.encode(reported(encodable(profile)))) + b"\n"


def decode(content: bytes, _path: str) -> Profile | None:
    """The profile of such a document, None for anything else."""
    try:
        return msgspec.json.decode(content, type=ProfileReport).profile
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
