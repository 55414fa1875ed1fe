"""Whether a profile that came from a file can be walked: types alone don't say so. A stack that calls itself would be walked for ever."""

from pellucid.model.profile import NO_STACK, Profile


def flaw(profile: Profile) -> str:
    """What makes it no profile though its types are right; "" if nothing does."""
    frames, stacks = len(profile.frames), len(profile.stacks)
    for number, node in enumerate(profile.stacks):
        if not NO_STACK <= node.parent < number:
            return f"stack {number} is called by stack {node.parent}"
        if not 0 <= node.frame < frames:
            return f"stack {number} has frame {node.frame} of {frames}"
    for track in profile.tracks:
        for run in track.runs:
            if not NO_STACK <= run.stack < stacks:
                return f"a sample has stack {run.stack} of {stacks}"
            if run.samples < 0 or run.weight_ns < 0 or run.at_ns < 0:
                return "a sample weighs less than nothing, or came before the first"
    if (
        profile.taking.interval_ns < (profile.mode != "calls")
        or profile.duration_ns < 0
        or not 0 <= profile.began_at < 1e11
    ):
        return "it was taken at no time, or at no rate"
    return ""
