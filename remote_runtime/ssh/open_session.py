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
from .auth.candidate import KeyCandidate
from .auth.certificates import presented_certificate
from .auth.host_keys import HostKeyPolicy
from .auth.login import TooManyAuthFailures, authenticate, needs_no_user
from .connect_options import ConnectOptions as ConnectOptions
from .connect_options import RetryableError, WaitProgress
from .files.known_hosts import HostKey
from .files.paths import home_dir
from .negotiate import LONGER_TIMEOUT_HINT, connection_lost_error, hung_up_error, negotiate
from .open_socket import login_name, open_connection
from .penalties import CONNECTION_PENALTY_S, LOGIN_PENALTY_S
from .session import Session
from .transport.transport import Transport

log = logging.getLogger(__name__)
_RETRY_PAUSE_S = 1.0
_BUSY_PAUSE_S = 3.0
_QUICK_TRIES = 3
_QUICK_PAUSE_S = 0.3
# The troubles of a machine that is there.
_SERVER_RESPONDED = ("hung up", "no key", "not now")
# sshd allows six tries a connection (MaxAuthTries), and newer ones shut out who comes back too often.
_MAX_CONNECTIONS = 4
# A try that had no more than this says less than the one before it.
_MIN_TRY_S = 2.0


def connect_with_retries(
    instance: Instance,
    settings: SshSettings,
    options: ConnectOptions,
    deadline: Deadline,
    *,
    key_just_added: bool,
    keep_trying_s: float | None = None,
    depth: int = 0,
) -> Session:
    """See ``remote_runtime.ssh.connect``."""
    start = time.monotonic()
    retry_until = deadline if keep_trying_s is None else deadline.within(keep_trying_s)
    tries = 0
    previous: RetryableError | None = None
    while True:
        tries += 1
        available_s = options.answer_by.remaining_s()
        try:
            return _try_all_keys(instance, settings, options, deadline, depth, only_accepted=key_just_added)
        except RetryableError as problem:
            may_wait = instance.started_from is not None or problem.kind == "not now"
            if problem.kind == "no key":  # a machine that boots learns late of the keys that are meant for it
                may_wait = key_just_added or (may_wait and bool(options.wanted))
            retry_at_once = problem.kind in ("refused", "hung up") and tries < _QUICK_TRIES
            if problem.kind in _SERVER_RESPONDED:
                options = replace(options, answer_by=deadline)
            limit = options.answer_by
            if limit.passed() or retry_until.passed() or not (may_wait or retry_at_once):
                cut_short = problem.kind == "too soon" or (problem.kind == "silent" and available_s < _MIN_TRY_S)
                raise (previous if previous is not None and cut_short else problem).error from problem
            previous = problem
            options.tell(
                f"Waiting for SSH on {instance.where} ({problem.why}), "
                f"{time.monotonic() - start:.0f} s of {limit.timeout_s:.0f} s"
            )
            pause_s = _BUSY_PAUSE_S if problem.kind == "not now" else _RETRY_PAUSE_S
            deadline.sleep(pause_s if may_wait else _QUICK_PAUSE_S)


class _LazyCandidates(Iterable[KeyCandidate]):
    """``known`` first; the others are looked for, and the agent asked, only if those do not let us in."""

    def __init__(self, known: list[KeyCandidate], find: Callable[[], list[KeyCandidate]]) -> None:
        self._known = known
        self._find = find
        self._others: list[KeyCandidate] | None = None
        if not known:
            self._search()

    def __iter__(self) -> Iterator[KeyCandidate]:
        yield from self._known
        tried = [candidate.presented for candidate in self._known]
        yield from (candidate for candidate in self._search() if candidate.presented not in tried)

    def _search(self) -> list[KeyCandidate]:
        if self._others is None:
            self._others = self._find()
        return self._others


def _try_all_keys(
    instance: Instance,
    settings: SshSettings,
    options: ConnectOptions,
    deadline: Deadline,
    depth: int,
    *,
    only_accepted: bool,
) -> Session:
    def find() -> list[KeyCandidate]:
        return options.keys.candidates(
            settings, options.environ, options.wanted, options.agent_timeouts(), options.tell
        )

    known = options.keys.last_accepted(instance.host_key_name, settings)
    candidates: Iterable[KeyCandidate] = _LazyCandidates(known, find)
    if only_accepted:
        candidates = [candidate for candidate in find() if candidate.blob in options.wanted]
    refused: set[tuple[str, bytes]] = set()
    too_many: TooManyAuthFailures | None = None
    for connection in range(1, _MAX_CONNECTIONS + 1):
        refused_before = len(refused)
        _wait_for_penalties(instance, options, deadline, too_many)
        try:
            return _try_once(instance, settings, options, deadline, depth, candidates, refused)
        except TooManyAuthFailures as error:
            if connection == _MAX_CONNECTIONS or len(refused) == refused_before or deadline.passed():
                raise RetryableError("no key", error, "it accepts only few tries") from error
            options, too_many = replace(options, answer_by=deadline), error
    raise ValueError("there is at least one connection")


def _wait_for_penalties(
    instance: Instance, options: ConnectOptions, deadline: Deadline, last_error: TooManyAuthFailures | None
) -> None:
    """Raises ``NotYet`` when there is no time left for that: with what was ``few``, if a try was made."""
    pause_s = options.keys.penalties.pause_s((instance.address, instance.port))
    if pause_s > 0 and pause_s >= deadline.remaining_s():
        what = f"The next login at {instance.where} has to wait"
        why = f"it refuses addresses with many failed logins (PerSourcePenalties): {pause_s:.0f} s more"
        raise RetryableError("too soon", last_error or SshError("ssh-refused", what, why, LONGER_TIMEOUT_HINT))
    if pause_s >= 1:
        options.tell(f"Waiting {pause_s:.0f} s: {instance.where} refuses addresses with many failed logins")
    deadline.sleep(pause_s)


def _try_once(
    instance: Instance,
    settings: SshSettings,
    options: ConnectOptions,
    deadline: Deadline,
    depth: int,
    candidates: Iterable[KeyCandidate],
    refused: set[tuple[str, bytes]],
) -> Session:
    def connect_jump(
        hop: Instance, hop_settings: SshSettings, hop_options: ConnectOptions, hop_deadline: Deadline
    ) -> Session:
        return connect_with_retries(hop, hop_settings, hop_options, hop_deadline, key_just_added=False, depth=depth + 1)

    penalties, address = options.keys.penalties, (instance.address, instance.port)
    with ExitStack() as undo:
        host_keys = HostKeyPolicy(instance, settings, pins=options.pins, home=home_dir(options.environ))
        key_types = host_keys.algorithms()
        sock, connection = open_connection(
            instance, settings, options, deadline, undo, connect_jump=connect_jump, depth=depth
        )
        try:
            transport = Transport(
                sock, key_types, connection.close_reason if connection else str, settings.allowed_algorithms
            )
        except SshError:  # nothing of ours is allowed by ~/.ssh/config
            sock.close()
            raise
        undo.callback(transport.close)
        negotiate(transport, instance.where, options, connection)
        penalties.note_version(address, transport.remote_version)
        host_key = HostKey(transport.host_key.get_name(), transport.host_key.get_base64())
        try:
            host_keys.check(host_key, options.tell, presented_certificate(transport.host_key))
        except SshError:
            penalties.add(address, CONNECTION_PENALTY_S)
            raise
        try:
            accepted = _log_in(transport, instance, settings, options, deadline, candidates, refused)
        except BaseException:
            penalties.add(address, LOGIN_PENALTY_S)
            raise
        options.keys.remember_accepted(accepted, instance.host_key_name, settings)
        key = accepted.key if accepted else None
        is_direct = not (settings.proxy_jump or settings.proxy_command)
        relogin = None
        if accepted and key and is_direct and needs_no_user(transport, key):
            relogin = _relogin(instance, settings, options, accepted)
        return Session(
            transport,
            instance,
            user=login_name(settings),
            host_key=host_key,
            key=key,
            release=undo.pop_all().close,
            relogin=relogin,
            keepalive_s=settings.keepalive_s,
            within_s=deadline.timeout_s,
            silent_agent=options.keys.silent_agent,
        )


def _relogin(
    instance: Instance, settings: SshSettings, options: ConnectOptions, accepted: KeyCandidate
) -> Callable[[Deadline], Session]:
    """The same login once more, with the key that was accepted."""

    def log_in_again(deadline: Deadline) -> Session:
        silent_options = replace(
            options, ask=_refuse_prompt, tell=lambda text: log.info("%s", text), answer_by=deadline
        )
        try:
            session = _try_once(instance, settings, silent_options, deadline, 0, [accepted], set())
        except RetryableError as problem:
            raise problem.error from problem
        with ExitStack() as undo:
            undo.callback(session.close)
            session.enable_nodelay()
            undo.pop_all()
        return session

    return log_in_again


def _refuse_prompt(prompt: str, *, secret: bool, code: str) -> str:
    raise SshError(code, "Nobody is asked for a further connection", prompt)


def _log_in(
    transport: Transport,
    instance: Instance,
    settings: SshSettings,
    options: ConnectOptions,
    deadline: Deadline,
    candidates: Iterable[KeyCandidate],
    refused: set[tuple[str, bytes]],
) -> KeyCandidate | None:
    user, where = login_name(settings), instance.where
    try:
        return authenticate(
            transport,
            user,
            candidates,
            refused=refused,
            keys=options.keys,
            prompt=options.ask,
            deadline=deadline,
            on_wait=WaitProgress(options.tell, lambda: f"the login at {where}", deadline),
        )
    except TooManyAuthFailures:
        raise
    except DeadlinePassed as error:
        why = transport.server_text.append_to(f"{error.what}; the server had greeted, and its host key is verified")
        raise SshError("ssh-unreachable", f"The login at {where} does not end", why, LONGER_TIMEOUT_HINT) from error
    except SshError as error:
        if error.code == "no-usable-key":
            raise RetryableError("no key", error, "it does not know our key") from error
        if ended := transport.sock_close_reason():
            is_command = settings.proxy_command is not None and not settings.proxy_jump
            raise connection_lost_error(where, "during the login", ended, is_command=is_command) from error
        if error.code == "ssh-unreachable":
            raise hung_up_error(where, transport.server_text.append_to(error.why)) from error
        raise
