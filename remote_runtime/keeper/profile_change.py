"""Applies a profile that changed while its runtime is running: restarts the tunnel, never the kernels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ..core.errors import LocalError
from ..core.model import Runtime
from ..core.profile import DemoTarget, GceTarget, Profile, Target
from ..lifecycle.resources import Resources


def close_changed(previous: Profile, profile: Profile, resources: Resources, note: Callable[[str], None]) -> bool:
    """Closes the resources whose settings changed. Returns True if the local ports must be reopened.

    Raises ``LocalError``, and changes nothing, for another machine and for a local port in use.
    """
    if _machine_of(profile) != _machine_of(previous):
        raise other_machine_error(profile, str(previous.path))
    if profile.forward != previous.forward:
        resources.check_ports(profile.forward)
        same_port = profile.forward.local_port == previous.forward.local_port
        note(f"{'Port forwards' if same_port else 'Local port'} changed; restarting the tunnel")
        resources.close("the profile's ports were changed")
        return True
    if profile.ssh != previous.ssh:
        note("SSH settings changed; reconnecting")
        resources.disconnect()
    return False


def _machine_of(profile: Profile) -> Target:
    """The target without what only a new VM gets."""
    target = profile.target
    if isinstance(target, GceTarget):
        return replace(target, create=None, zones=(), regions=())
    return replace(target, create=None, zones=()) if isinstance(target, DemoTarget) else target


def without_cluster_change(previous: Profile, profile: Profile, note: Callable[[str], None]) -> Profile:
    """``profile`` with the cluster that runs: kernels got its address when Jupyter started."""
    if profile.cluster != previous.cluster:
        note("The change of `cluster` applies after `remote-runtime down PROFILE` and `remote-runtime up PROFILE`")
    return replace(profile, cluster=previous.cluster)


def error_of_left(profile: Profile, left: Runtime) -> LocalError | None:
    """If a keeper that died left something on another machine, which only that machine's profile can end."""
    if left.target == profile.target_fields() or not (left.instance or left.server or left.resources):
        return None
    return other_machine_error(profile, left.profile_path)


def other_machine_error(profile: Profile, previous_profile_path: str) -> LocalError:
    """``previous_profile_path``: of the profile that the runtime was brought up with."""
    return LocalError(
        "busy",
        f"{profile.name} is running on another machine than its profile names now",
        f"it was started from {previous_profile_path}",
        "`remote-runtime down PROFILE`, then `remote-runtime up PROFILE`",
    )
