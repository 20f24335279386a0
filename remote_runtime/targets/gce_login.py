"""Entering a Compute Engine instance: with a key that it knows, else with one that we put there first."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from .. import compute, ssh
from ..core.access import Access, AddedKey, Admission, Who
from ..core.callbacks import Ask, Tell
from ..core.deadline import Deadline
from ..core.errors import CloudError, SshError, from_code
from ..core.frozen import dataclass
from ..core.model import Instance
from ..core.profile import SshSettings

if TYPE_CHECKING:
    from ..ssh import Session

# A key that is let in, by what we read, and is refused: the guest may not have heard of it yet.
UNCHANGED_S = 10.0
# An entry that ends so soon may end before the login does.
TOO_SHORT_S = 30.0


@dataclass(frozen=True)
class Keyring:
    """``keys``: what was unlocked stays so. ``environ``: ours; ``cloud``: what Compute Engine's look-ups are given.
    ``lifetime_s``: how long a key that we add lives. ``reach``: what connects to the machine, None for an ordinary
    connection. ``added``: the keys that we added before. ``answers_within_s``,
    ``reconnect``: as ``ssh.connect`` takes them."""

    pins: Path
    keys: ssh.Keys
    environ: Mapping[str, str]
    cloud: Mapping[str, str]
    settings: SshSettings
    lifetime_s: float
    reach: ssh.Reach | None = None
    added: tuple[AddedKey, ...] = ()
    answers_within_s: float | None = None
    reconnect: bool = False


@dataclass(frozen=True)
class Wish:
    """``may_add``: whether a key may be put on the machine. ``fresh``: whether one of ours that has lived half of its
    life is renewed. ``news``: is told what is about to be added (the instance as it was), and of the instance with its
    new access. ``reconnect``, ``answers_within_s``: as ``ssh.connect`` takes them."""

    news: Callable[[Instance, tuple[AddedKey, ...]], None]
    may_add: bool = True
    fresh: bool = False
    reconnect: bool = False
    answers_within_s: float | None = None


def no_wish(answers_within_s: float | None = None) -> Wish:
    """Nothing is put there."""
    return Wish(lambda instance, keys: None, may_add=False, answers_within_s=answers_within_s)


def who_wants_in(settings: SshSettings, environ: Mapping[str, str]) -> Who:
    """Raises ``SshError`` ``no-usable-key`` for a key file that was asked for and cannot be used.

    The keys are looked through anew: a login that goes on meanwhile has a conversation of its own with the agent.
    """
    with contextlib.closing(ssh.Keys()) as keys:
        return Who(settings.user, ssh.own_name(), keys.public(settings, environ))


def enter(instance: Instance, ring: Keyring, wish: Wish, *, ask: Ask, tell: Tell, deadline: Deadline) -> Session:
    """One login. Raises ``SshError``, and ``CloudError`` where a key is needed and cannot be added."""
    access = instance.access
    if access is None:
        raise ValueError("this is for instances whose access was looked up")

    def connect(access: Access, wanted: Sequence[str], *, added: bool, keep_trying_s: float | None = None) -> Session:
        return ssh.connect(
            instance,
            replace(ring.settings, user=access.user),
            pins=ring.pins,
            keys=ring.keys,
            ask=ask,
            tell=tell,
            deadline=deadline,
            environ=ring.environ,
            wanted=wanted,
            reach=ring.reach,
            key_just_added=added,
            keep_trying_s=keep_trying_s,
            answers_within_s=ring.answers_within_s,
            reconnect=ring.reconnect,
        )

    refused: SshError | None = None
    is_over = _remaining_s(access) < min(TOO_SHORT_S, ring.lifetime_s / 4)
    if wish.may_add and wish.fresh and not is_over:
        access = renew(instance, access, ring, wish, tell, deadline)
    if access.user and not is_over:
        try:
            return connect(access, access.keys, added=False)
        except SshError as error:
            if error.code != "no-usable-key":
                raise
            refused = error
    if not wish.may_add:
        raise _not_added(instance, refused)
    admission = _admit(instance, ring, wish, tell, deadline, refused, fresh=wish.fresh)
    keep_trying_s = None if admission.added else UNCHANGED_S
    return connect(admission.access, admission.access.keys, added=True, keep_trying_s=keep_trying_s)


def renew(instance: Instance, access: Access, ring: Keyring, wish: Wish, tell: Tell, deadline: Deadline) -> Access:
    """With a key that has lived less than half of its life. ``access`` as it is where it cannot be renewed: what lets
    us in now still does."""
    if _remaining_s(access) >= ring.lifetime_s / 2:
        return access
    try:
        return _admit(instance, ring, wish, tell, deadline, None, fresh=True).access
    except (CloudError, SshError) as error:
        tell(f"The key on {instance.name} cannot be renewed: {error}")
        return access


def _admit(
    instance: Instance,
    ring: Keyring,
    wish: Wish,
    tell: Tell,
    deadline: Deadline,
    refused: SshError | None,
    *,
    fresh: bool,
) -> Admission:
    key = ring.keys.to_add(ring.settings, ring.environ, tell)
    tell(f"Putting a key on {instance.name}")

    def adding(new: AddedKey) -> None:
        wish.news(instance, (*ring.added, new))

    try:
        admission = compute.admit(
            instance,
            who_wants_in(ring.settings, ring.environ),
            key,
            lifetime_s=ring.lifetime_s,
            former=ring.added,
            fresh=fresh,
            adding=adding,
            tell=tell,
            deadline=deadline,
            environ=ring.cloud,
        )
    except CloudError as error:
        if refused is None:
            raise
        what = f"{instance.name} knows none of our keys, and none could be added: {error.what}"
        raise from_code(error.code, what, error.why, error.hint) from error
    entered = replace(instance, access=admission.access)
    wish.news(entered, _still_there(ring.added, admission.added))
    return admission


def _remaining_s(access: Access) -> float:
    return float("inf") if access.until is None else access.until - time.time()


def _still_there(former: tuple[AddedKey, ...], new: AddedKey | None) -> tuple[AddedKey, ...]:
    """Without those that the new one has replaced."""
    if new is None:
        return former
    return (*(each for each in former if (each.by, each.id) != (new.by, new.id)), new)


def _not_added(instance: Instance, refused: SshError | None) -> SshError:
    what = f"{instance.name} knows none of our keys yet"
    return SshError("no-usable-key", what, refused.why if refused else "", "`remote-runtime up` puts one there")
