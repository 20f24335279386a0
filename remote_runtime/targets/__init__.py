"""One backend for each kind of target: find the machine, connect to it, stop it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..core.profile import DemoTarget, GceTarget, Profile, SshTarget
from .base import CreateOptions, FindOptions, KeyPolicy, LoginOptions, Target, TargetSession
from .demo import DemoBackend
from .gce import GceBackend
from .local import LocalBackend
from .ssh_host import SshBackend

if TYPE_CHECKING:
    from .. import ssh
    from ..state.store import StateDir

__all__ = ["CreateOptions", "FindOptions", "KeyPolicy", "LoginOptions", "Target", "TargetSession", "open_target"]


def open_target(profile: Profile, state: StateDir, environ: Mapping[str, str], keys: ssh.Keys) -> Target:
    """The machine that ``profile`` names. ``keys``: keys that were unlocked once stay so while this object lives."""
    if isinstance(profile.target, GceTarget):
        return GceBackend(profile, state, environ, keys)
    if isinstance(profile.target, SshTarget):
        return SshBackend(profile, state, environ, keys)
    if isinstance(profile.target, DemoTarget):
        return DemoBackend(profile, state, environ, keys)
    return LocalBackend(profile, environ)
