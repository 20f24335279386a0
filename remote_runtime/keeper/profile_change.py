"""A profile that has changed since its runtime came up: the tunnel is restarted for it, the kernels never are."""

from __future__ import annotations

from collections.abc import Callable

from ..core.model import Profile
from ..lifecycle.bring_up import Held
from .refusals import another_machine


def make_room(former: Profile, profile: Profile, held: Held, note: Callable[[str], None]) -> bool:
    """Lets go what ``profile`` wants otherwise; whether the ports are opened anew.

    Raises ``LocalError``, and touches nothing then, for another machine and for a local port in use.
    """
    if profile.target != former.target:
        raise another_machine(profile, str(former.path))
    if profile.forward != former.forward:
        held.check_ports(profile.forward)
        same_port = profile.forward.local_port == former.forward.local_port
        note(f"{'Other forwards are' if same_port else 'Another local port is'} asked for: the tunnel is opened anew")
        held.close()
        return True
    if profile.ssh != former.ssh:
        note("The profile's ssh has changed: the connection is made anew")
        held.let_go()
    return False
