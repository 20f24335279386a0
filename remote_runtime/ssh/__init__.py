"""SSH: reach a machine, verify its host key, log in once, run commands there and reach its ports.

Importing this package is cheap: paramiko (0.1 s) is loaded by what needs it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..model import Ask, Instance, SshSettings, Tell
from ..waits import Deadline
from .config import resolve
from .keys import Keys
from .pins import forget_pins, show_pins

if TYPE_CHECKING:
    from .session import Session

__all__ = ["Keys", "connect", "forget_pins", "resolve", "show_pins"]


def connect(
    instance: Instance,
    settings: SshSettings,
    *,
    pins: Path,
    ask: Ask,
    tell: Tell,
    deadline: Deadline,
    environ: Mapping[str, str],
    keys: Keys | None = None,
    key_just_added: bool = False,
) -> Session:
    """Enter the machine: one login, its host key verified first.

    ``pins``: our known_hosts file, made when first needed. ``keys``: what was unlocked before, for a reconnect
    without a question. A machine that we started (``started_from``) is waited for until the deadline; ``ssh-refused``
    and a refused connection of others is tried three times. ``key_just_added``: a refused key is tried again until
    the deadline, because the machine learns of it late.

    Raises ``SshError`` (every code of it), ``Interrupted``.
    """
    from .connecting import Entry, enter

    entry = Entry(pins, keys or Keys(), ask, tell, environ)
    return enter(instance, settings, entry, deadline, key_just_added=key_just_added)
