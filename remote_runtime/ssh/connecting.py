"""Entering a machine: reach its SSH port, verify its host key, log in once; wait while it boots."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import paramiko

from ..errors import DeadlinePassed, HealthError, SshError
from ..model import Instance
from ..protocols import Ask, Tell
from ..settings import SshSettings, SshTarget
from ..untrusted import clean_line
from ..values import dataclass
from ..waits import Deadline
from .config import parse_hop, resolve
from .dialing import NoAnswer, open_proxy, open_socket
from .keys import Candidate, Keys
from .known_hosts import HostKey
from .link import Link
from .login import FewTries, is_silent, log_in
from .pins import HostKeys
from .places import home_of, own_name
from .reach import Reach
from .session import Session

log = logging.getLogger(__name__)
_GREETING_S = 15.0
_PAUSE_S = 1.0
_BRIEF_TRIES = 3
_BRIEF_PAUSE_S = 0.3
_DEEPEST_JUMP = 8
# The troubles of a machine that is there.
_ANSWERS = ("hung up", "no key")
_OF_PASSAGES = {"iap-backend-unreachable": "silent", "iap-unreachable": "hung up"}
# sshd allows six tries a connection (MaxAuthTries), and newer ones shut out who comes back too often.
_MOST_CONNECTIONS = 4


@dataclass(frozen=True)
class Entry:
    """What every connection of one run shares. ``wanted``: public halves of the keys that the machine knows. ``reach``:
    connects to its port. ``answer_by``: until then its port may be silent."""

    pins: Path
    keys: Keys
    ask: Ask
    tell: Tell
    environ: Mapping[str, str]
    wanted: tuple[bytes, ...]
    reach: Reach | None
    answer_by: Deadline


def enter(
    instance: Instance, settings: SshSettings, entry: Entry, deadline: Deadline, *, key_just_added: bool, depth: int = 0
) -> Session:
    """See ``remote_runtime.ssh.connect``."""
    start = time.monotonic()
    tries = 0
    while True:
        tries += 1
        try:
            return _attempt_all_keys(instance, settings, entry, deadline, depth, only_wanted=key_just_added)
        except _NotYet as problem:
            patient = instance.started_from is not None
            if problem.trouble == "no key":  # a machine that boots learns late of the keys that are meant for it
                patient = key_just_added or (patient and bool(entry.wanted))
            brief = problem.trouble in ("refused", "hung up") and tries < _BRIEF_TRIES
            if problem.trouble in _ANSWERS:
                entry = replace(entry, answer_by=deadline)
            until = entry.answer_by
            if until.passed() or not (patient or brief):
                raise problem.error from problem
            entry.tell(
                f"Waiting for SSH on {instance.where} ({problem.why}), "
                f"{time.monotonic() - start:.0f} s of {until.within_s:.0f} s"
            )
            deadline.pause(_PAUSE_S if patient else _BRIEF_PAUSE_S)


class _NotYet(Exception):
    """Perhaps later. ``error`` is what to raise when there is no later."""

    def __init__(self, trouble: str, why: str, error: SshError) -> None:
        super().__init__(why)
        self.trouble = trouble
        self.why = why
        self.error = error


def _attempt_all_keys(
    instance: Instance, settings: SshSettings, entry: Entry, deadline: Deadline, depth: int, *, only_wanted: bool
) -> Session:
    candidates = entry.keys.candidates(settings, entry.environ, entry.wanted)
    if only_wanted:
        candidates = [candidate for candidate in candidates if candidate.blob in entry.wanted]
    refused: set[tuple[str, bytes]] = set()
    for connection in range(1, _MOST_CONNECTIONS + 1):
        before = len(refused)
        try:
            return _attempt(instance, settings, entry, deadline, depth, candidates, refused)
        except FewTries as error:
            if connection == _MOST_CONNECTIONS or len(refused) == before:
                raise _NotYet("no key", "it accepts only few tries", error) from error
            entry = replace(entry, answer_by=deadline)
    raise ValueError("there is at least one connection")


def _attempt(
    instance: Instance,
    settings: SshSettings,
    entry: Entry,
    deadline: Deadline,
    depth: int,
    candidates: Sequence[Candidate],
    refused: set[tuple[str, bytes]],
) -> Session:
    with ExitStack() as undo:
        host_keys = HostKeys(instance, settings, pins=entry.pins, home=home_of(entry.environ))
        sock, why_ended = _reach(instance, settings, entry, entry.answer_by, depth, undo)
        link = Link(sock, host_keys.algorithms(), why_ended)
        undo.callback(link.end)
        _negotiate(link, instance, entry.answer_by)
        shown = HostKey(link.host_key.get_name(), link.host_key.get_base64())
        host_keys.check(shown, entry.tell)
        key = _log_in(link, instance, settings, entry, deadline, candidates, refused)
        is_plain = not (settings.proxy_jump or settings.proxy_command)
        again = _again(instance, settings, entry, key) if key and is_plain and is_silent(link, key) else None
        return Session(
            link,
            instance,
            user=_user(settings),
            host_key=shown,
            key=key,
            release=undo.pop_all().close,
            again=again,
            keepalive_s=settings.keepalive_s,
        )


def _again(
    instance: Instance, settings: SshSettings, entry: Entry, key: paramiko.PKey
) -> Callable[[Deadline], Session]:
    """The same login once more, with the key that was accepted."""
    known = Candidate("the key that was accepted", key.asbytes(), key)

    def enter_again(deadline: Deadline) -> Session:
        quiet = replace(entry, ask=_ask_nobody, tell=lambda text: log.info("%s", text), answer_by=deadline)
        try:
            session = _attempt(instance, settings, quiet, deadline, 0, [known], set())
        except _NotYet as problem:
            raise problem.error from problem
        with ExitStack() as undo:
            undo.callback(session.close)
            session.end_nagle()
            undo.pop_all()
        return session

    return enter_again


def _ask_nobody(prompt: str, *, secret: bool, code: str) -> str:
    raise SshError(code, "Nobody is asked for a further connection", prompt)


def _reach(
    instance: Instance, settings: SshSettings, entry: Entry, deadline: Deadline, depth: int, undo: ExitStack
) -> tuple[Any, Callable[[], str]]:
    """A socket, and what knows why it ended."""
    if entry.reach is not None:
        return _through_passage(entry.reach, deadline, undo)
    if settings.proxy_jump:
        return _through(instance, settings, entry, deadline, depth, undo), str
    if settings.proxy_command:
        user = _user(settings)
        sock, end = open_proxy(settings.proxy_command, instance.address, instance.port, user)
        undo.callback(end)
        return sock, str
    try:
        return open_socket(instance.address, instance.port, deadline), str
    except NoAnswer as error:
        what = f"Nothing answers at {instance.where}"
        hint = "Check `target.host`" if error.trouble == "unknown host" and instance.kind == "ssh" else ""
        raise _NotYet(error.trouble, error.why, SshError("ssh-unreachable", what, error.why, hint)) from error


def _through_passage(reach: Reach, deadline: Deadline, undo: ExitStack) -> tuple[Any, Callable[[], str]]:
    try:
        passage = reach(deadline)
    except SshError as error:
        trouble = _OF_PASSAGES.get(error.code)
        if trouble is None:
            raise
        raise _NotYet(trouble, error.why, error) from error
    undo.callback(passage.close)
    return passage.socket, passage.why_ended


def _through(
    instance: Instance, settings: SshSettings, entry: Entry, deadline: Deadline, depth: int, undo: ExitStack
) -> Any:
    """A channel from the last jump host; each is verified and logged in to like any other machine."""
    if depth >= _DEEPEST_JUMP:
        raise SshError("ssh-config-unsupported", "The jump hosts lead to each other", " → ".join(settings.proxy_jump))
    *before, last = settings.proxy_jump
    user, host, port = parse_hop(last)
    wanted = replace(SshSettings(), user=user, host_key=settings.host_key, identity_file=settings.identity_file)
    hop, hop_settings = resolve(SshTarget(host, port, tuple(before)), wanted, environ=entry.environ)
    session = enter(
        hop, hop_settings, replace(entry, wanted=(), reach=None), deadline, key_just_added=False, depth=depth + 1
    )
    undo.callback(session.close)
    try:
        return session.open_hop(instance.address, instance.port, deadline)
    except (HealthError, SshError) as error:
        why = f"{last} cannot reach it: {error.why or error.what}"
        what = f"Nothing answers at {instance.address}:{instance.port}"
        raise _NotYet("refused", why, SshError("ssh-unreachable", what, why)) from error


def _negotiate(link: Link, instance: Instance, deadline: Deadline) -> None:
    where = instance.where
    greeting = deadline.shorter(_GREETING_S)
    try:
        link.negotiate(greeting)
    except TimeoutError as error:
        why = f"it accepts connections and says nothing for {greeting.within_s:.0f} s"
        raise _NotYet("silent", why, SshError("ssh-unreachable", f"No SSH server answers at {where}", why)) from error
    except (EOFError, OSError) as error:
        raise _hung_up(where, "the server closes the connection before the greeting") from error
    except paramiko.SSHException as error:
        if not link.remote_version:
            if greeting.passed():
                why = "it says nothing that SSH servers say"
                raise _NotYet("silent", why, SshError("ssh-unreachable", f"No SSH server at {where}", why)) from error
            raise _hung_up(where, "the server closes the connection before the greeting") from error
        raise SshError("ssh-refused", f"No common language with {where}", clean_line(str(error), 300)) from error


def _log_in(
    link: Link,
    instance: Instance,
    settings: SshSettings,
    entry: Entry,
    deadline: Deadline,
    candidates: Sequence[Candidate],
    refused: set[tuple[str, bytes]],
) -> paramiko.PKey | None:
    user = _user(settings)
    try:
        return log_in(link, user, candidates, refused=refused, keys=entry.keys, ask=entry.ask, deadline=deadline)
    except FewTries:
        raise
    except DeadlinePassed as error:
        raise SshError("ssh-unreachable", f"The login at {instance.where} does not end", error.what) from error
    except SshError as error:
        if error.code == "no-usable-key":
            raise _NotYet("no key", "it does not know our key", error) from error
        if error.code == "ssh-unreachable":
            raise _hung_up(instance.where, error.why) from error
        raise


def _hung_up(where: str, why: str) -> _NotYet:
    return _NotYet("hung up", why, SshError("ssh-refused", f"The SSH server at {where} does not let us in", why))


def _user(settings: SshSettings) -> str:
    user = settings.user or own_name()
    if not user:
        what = "It is not known as whom to log in"
        raise SshError("ssh-config-unsupported", what, "this computer has no name for you", "Set `ssh.user`")
    return user
