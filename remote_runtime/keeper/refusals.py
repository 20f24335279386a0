"""What a keeper refuses, in words."""

from __future__ import annotations

from ..core.errors import LocalError, RemoteRuntimeError, from_code
from ..core.model import Profile


def other_machine_error(profile: Profile, previous_profile_path: str) -> LocalError:
    """``former``: the profile that the runtime was brought up from."""
    return LocalError(
        "busy",
        f"{profile.name} was brought up on another machine than its profile names now",
        f"it was brought up from {previous_profile_path}",
        f"`remote-runtime down {profile.name}` first",
    )


def unanswered_error(code: str, prompt: str, *, asked: bool) -> RemoteRuntimeError:
    """The error for a question that nobody answered."""
    why = "the question was not answered" if asked else "no terminal is there to ask on"
    return from_code(
        code, f"An answer is needed: {prompt}", why, "Run `remote-runtime up` in a terminal, or use an ssh-agent"
    )
