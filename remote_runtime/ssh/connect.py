"""Entering a machine: reach its SSH port, verify its host key, log in once; wait while it boots."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace

from ..core.deadline import Deadline
from ..core.errors import DeadlinePassed, SshError
from ..core.model import Instance
from ..core.profile import SshSettings
from .auth.candidate import Candidate
from .auth.certificates import shown_in
from .auth.host_keys import HostKeys
from .auth.login import FewTries, is_silent, log_in
from .connect_options import Entry as Entry
from .connect_options import NotYet, Waiting
from .files.known_hosts import HostKey
from .files.paths import home_of
from .negotiate import LONGER, ended_on_the_way, hung_up, negotiate
from .open_socket import reach, user_of
from .penalties import CONNECTION_S, LOGIN_S
from .session import Session
from .transport.transport import Link

log = logging.getLogger(__name__)
_PAUSE_S = 1.0
_NOT_NOW_PAUSE_S = 3.0
_BRIEF_TRIES = 3
_BRIEF_PAUSE_S = 0.3
# The troubles of a machine that is there.
_ANSWERS = ("hung up", "no key", "not now")
# sshd allows six tries a connection (MaxAuthTries), and newer ones shut out who comes back too often.
_MOST_CONNECTIONS = 4
# A try that had no more than this says less than the one before it.
_TOO_SHORT_S = 2.0


def enter(
    instance: Instance,
    settings: SshSettings,
    entry: Entry,
    deadline: Deadline,
    *,
    key_just_added: bool,
    keep_trying_s: float | None = None,
    depth: int = 0,
) -> Session:
    """See ``remote_runtime.ssh.connect``."""
    start = time.monotonic()
    give_up = deadline if keep_trying_s is None else deadline.shorter(keep_trying_s)
    tries = 0
    before: NotYet | None = None
    while True:
        tries += 1
        had_s = entry.answer_by.remaining_s()
        try:
            return _attempt_all_keys(instance, settings, entry, deadline, depth, only_wanted=key_just_added)
        except NotYet as problem:
            patient = instance.started_from is not None or problem.trouble == "not now"
            if problem.trouble == "no key":  # a machine that boots learns late of the keys that are meant for it
                patient = key_just_added or (patient and bool(entry.wanted))
            brief = problem.trouble in ("refused", "hung up") and tries < _BRIEF_TRIES
            if problem.trouble in _ANSWERS:
                entry = replace(entry, answer_by=deadline)
            until = entry.answer_by
            if until.passed() or give_up.passed() or not (patient or brief):
                cut_short = problem.trouble == "too soon" or (problem.trouble == "silent" and had_s < _TOO_SHORT_S)
                raise (before if before is not None and cut_short else problem).error from problem
            before = problem
            entry.tell(
                f"Waiting for SSH on {instance.where} ({problem.why}), "
                f"{time.monotonic() - start:.0f} s of {until.within_s:.0f} s"
            )
            usual_s = _NOT_NOW_PAUSE_S if problem.trouble == "not now" else _PAUSE_S
            deadline.pause(usual_s if patient else _BRIEF_PAUSE_S)


class _Candidates(Iterable[Candidate]):
    """``known`` first; the others are looked for, and the agent asked, only if those do not let us in."""

    def __init__(self, known: list[Candidate], find: Callable[[], list[Candidate]]) -> None:
        self._known = known
        self._find = find
        self._others: list[Candidate] | None = None
        if not known:
            self._look()

    def __iter__(self) -> Iterator[Candidate]:
        yield from self._known
        tried = [candidate.shown for candidate in self._known]
        yield from (candidate for candidate in self._look() if candidate.shown not in tried)

    def _look(self) -> list[Candidate]:
        if self._others is None:
            self._others = self._find()
        return self._others


def _attempt_all_keys(
    instance: Instance, settings: SshSettings, entry: Entry, deadline: Deadline, depth: int, *, only_wanted: bool
) -> Session:
    def find() -> list[Candidate]:
        return entry.keys.candidates(settings, entry.environ, entry.wanted, entry.agent_wait(), entry.tell)

    known = entry.keys.known(instance.host_key_name, settings)
    candidates: Iterable[Candidate] = _Candidates(known, find)
    if only_wanted:
        candidates = [candidate for candidate in find() if candidate.blob in entry.wanted]
    refused: set[tuple[str, bytes]] = set()
    few: FewTries | None = None
    for connection in range(1, _MOST_CONNECTIONS + 1):
        before = len(refused)
        _wait_for_penalties(instance, entry, deadline, few)
        try:
            return _attempt(instance, settings, entry, deadline, depth, candidates, refused)
        except FewTries as error:
            if connection == _MOST_CONNECTIONS or len(refused) == before or deadline.passed():
                raise NotYet("no key", error, "it accepts only few tries") from error
            entry, few = replace(entry, answer_by=deadline), error
    raise ValueError("there is at least one connection")


def _wait_for_penalties(instance: Instance, entry: Entry, deadline: Deadline, few: FewTries | None) -> None:
    """Raises ``NotYet`` when there is no time left for that: with what was ``few``, if a try was made."""
    pause_s = entry.keys.penalties.pause_s((instance.address, instance.port))
    if pause_s > 0 and pause_s >= deadline.remaining_s():
        what = f"The next login at {instance.where} has to wait"
        why = f"it refuses addresses with many failed logins (PerSourcePenalties): {pause_s:.0f} s more"
        raise NotYet("too soon", few or SshError("ssh-refused", what, why, LONGER))
    if pause_s >= 1:
        entry.tell(f"Waiting {pause_s:.0f} s: {instance.where} refuses addresses with many failed logins")
    deadline.pause(pause_s)


def _attempt(
    instance: Instance,
    settings: SshSettings,
    entry: Entry,
    deadline: Deadline,
    depth: int,
    candidates: Iterable[Candidate],
    refused: set[tuple[str, bytes]],
) -> Session:
    def enter_hop(hop: Instance, hop_settings: SshSettings, hop_entry: Entry, within: Deadline) -> Session:
        return enter(hop, hop_settings, hop_entry, within, key_just_added=False, depth=depth + 1)

    penalties, at = entry.keys.penalties, (instance.address, instance.port)
    with ExitStack() as undo:
        host_keys = HostKeys(instance, settings, pins=entry.pins, home=home_of(entry.environ))
        key_types = host_keys.algorithms()
        sock, passage = reach(instance, settings, entry, deadline, undo, enter=enter_hop, depth=depth)
        try:
            link = Link(sock, key_types, passage.why_ended if passage else str, settings.only)
        except SshError:  # nothing of ours is allowed by ~/.ssh/config
            sock.close()
            raise
        undo.callback(link.end)
        negotiate(link, instance.where, entry, passage)
        penalties.greeted(at, link.remote_version)
        shown = HostKey(link.host_key.get_name(), link.host_key.get_base64())
        try:
            host_keys.check(shown, entry.tell, shown_in(link.host_key))
        except SshError:
            penalties.add(at, CONNECTION_S)
            raise
        try:
            accepted = _log_in(link, instance, settings, entry, deadline, candidates, refused)
        except BaseException:
            penalties.add(at, LOGIN_S)
            raise
        entry.keys.accepted(accepted, instance.host_key_name, settings)
        key = accepted.key if accepted else None
        is_plain = not (settings.proxy_jump or settings.proxy_command)
        again = None
        if accepted and key and is_plain and is_silent(link, key):
            again = _again(instance, settings, entry, accepted)
        return Session(
            link,
            instance,
            user=user_of(settings),
            host_key=shown,
            key=key,
            release=undo.pop_all().close,
            again=again,
            keepalive_s=settings.keepalive_s,
            within_s=deadline.within_s,
            silent_agent=entry.keys.silent_agent,
        )


def _again(
    instance: Instance, settings: SshSettings, entry: Entry, accepted: Candidate
) -> Callable[[Deadline], Session]:
    """The same login once more, with the key that was accepted."""

    def enter_again(deadline: Deadline) -> Session:
        quiet = replace(entry, ask=_ask_nobody, tell=lambda text: log.info("%s", text), answer_by=deadline)
        try:
            session = _attempt(instance, settings, quiet, deadline, 0, [accepted], set())
        except NotYet as problem:
            raise problem.error from problem
        with ExitStack() as undo:
            undo.callback(session.close)
            session.end_nagle()
            undo.pop_all()
        return session

    return enter_again


def _ask_nobody(prompt: str, *, secret: bool, code: str) -> str:
    raise SshError(code, "Nobody is asked for a further connection", prompt)


def _log_in(
    link: Link,
    instance: Instance,
    settings: SshSettings,
    entry: Entry,
    deadline: Deadline,
    candidates: Iterable[Candidate],
    refused: set[tuple[str, bytes]],
) -> Candidate | None:
    user, where = user_of(settings), instance.where
    try:
        return log_in(
            link,
            user,
            candidates,
            refused=refused,
            keys=entry.keys,
            ask=entry.ask,
            deadline=deadline,
            waiting=Waiting(entry.tell, lambda: f"the login at {where}", deadline),
        )
    except FewTries:
        raise
    except DeadlinePassed as error:
        why = link.said.after(f"{error.what}; the server had greeted, and its host key is verified")
        raise SshError("ssh-unreachable", f"The login at {where} does not end", why, LONGER) from error
    except SshError as error:
        if error.code == "no-usable-key":
            raise NotYet("no key", error, "it does not know our key") from error
        if ended := link.why_sock_ended():
            is_command = settings.proxy_command is not None and not settings.proxy_jump
            raise ended_on_the_way(where, "during the login", ended, is_command=is_command) from error
        if error.code == "ssh-unreachable":
            raise hung_up(where, link.said.after(error.why)) from error
        raise
