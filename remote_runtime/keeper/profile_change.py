"""A profile that has changed since its runtime came up: the tunnel is restarted for it, the kernels never are."""

from __future__ import annotations

from collections.abc import Callable

from ..core.model import Profile
from ..lifecycle.bring_up import Resources
from .refusals import other_machine_error


def close_changed(previous: Profile, profile: Profile, resources: Resources, note: Callable[[str], None]) -> bool:
    """Lets go what ``profile`` wants otherwise; whether the ports are opened anew.

    Raises ``LocalError``, and touches nothing then, for another machine and for a local port in use.
    """
    if profile.target != previous.target:
        raise other_machine_error(profile, str(previous.path))
    if profile.forward != previous.forward:
        resources.check_ports(profile.forward)
        same_port = profile.forward.local_port == previous.forward.local_port
        note(f"{'Other forwards are' if same_port else 'Another local port is'} asked for: the tunnel is opened anew")
        resources.close()
        return True
    if profile.ssh != previous.ssh:
        note("The profile's ssh has changed: the connection is made anew")
        resources.disconnect()
    return False
