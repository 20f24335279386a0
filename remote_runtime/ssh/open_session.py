"""Connect to a machine: open a connection to its SSH port, verify its host key, log in once; retry while it boots."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace

from ..core.errors import DeadlinePassed, SshError
from .auth.candidate import KeyCandidate
from .auth.login import TooManyAuthFailures, authenticate
from .connect_request import ConnectRequest, RetryableError, WaitProgress
from .negotiate import LONGER_TIMEOUT_HINT, connection_lost_error, hung_up_error
from .penalties import LOGIN_PENALTY_S
from .session import Session
from .transport.transport import Transport
from .verified_transport import open_verified

log = logging.getLogger(__name__)
_RETRY_PAUSE_S = 1.0
_BUSY_PAUSE_S = 3.0
_QUICK_TRIES = 3
_QUICK_PAUSE_S = 0.3
# Kinds of failures after which the machine is known to be there.
_SERVER_RESPONDED = ("hung up", "no key", "not now")
# sshd allows six tries a connection (MaxAuthTries), and since 9.8 refuses addresses with many failures.
_MAX_CONNECTIONS = 4
# The error of an attempt that had less time says less than the one before it.
_MIN_TRY_S = 2.0


def connect_with_retries(
    request: ConnectRequest, *, only_accepted: bool = False, keep_trying_s: float | None = None
) -> Session:
    """See ``remote_runtime.ssh.connect``. ``only_accepted``: offer ``accepted_keys`` only, until the deadline."""
    instance, deadline = request.instance, request.deadline
    start = time.monotonic()
    retry_until = deadline if keep_trying_s is None else deadline.within(keep_trying_s)
    tries = 0
    previous: RetryableError | None = None
    while True:
        tries += 1
        available_s = request.respond_by.remaining_s()
        try:
            return _try_all_keys(request, only_accepted=only_accepted)
        except RetryableError as problem:
            may_wait = instance.started_from is not None or problem.kind == "not now"
            if problem.kind == "no key":  # a machine that boots learns late of the keys that are meant for it
                may_wait = only_accepted or (may_wait and bool(request.accepted_keys))
            retry_at_once = problem.kind in ("refused", "hung up") and tries < _QUICK_TRIES
            if problem.kind in _SERVER_RESPONDED:
                request = replace(request, respond_by=deadline)
            limit = request.respond_by
            if limit.passed() or retry_until.passed() or not (may_wait or retry_at_once):
                cut_short = problem.kind == "too soon" or (problem.kind == "silent" and available_s < _MIN_TRY_S)
                raise (previous if previous is not None and cut_short else problem).error from problem
            previous = problem
            elapsed = f"{time.monotonic() - start:.0f} s of {limit.timeout_s:.0f} s"
            request.progress(f"Waiting for SSH on {instance.where} ({problem.why}), {elapsed}")
            pause_s = _BUSY_PAUSE_S if problem.kind == "not now" else _RETRY_PAUSE_S
            deadline.sleep(pause_s if may_wait else _QUICK_PAUSE_S)


def _try_all_keys(request: ConnectRequest, *, only_accepted: bool) -> Session:
    @functools.lru_cache
    def find() -> list[KeyCandidate]:
        found = request.keys.candidates(
            request.settings,
            request.environ,
            request.accepted_blobs,
            request.agent_timeouts(),
            request.progress,
        )
        return [candidate for candidate in found if not only_accepted or candidate.blob in request.accepted_blobs]

    deadline = request.deadline
    known = [] if only_accepted else request.keys.last_accepted(request.instance.host_key_name, request.settings)
    if not known:
        find()
    refused: set[tuple[str, bytes]] = set()
    too_many: TooManyAuthFailures | None = None
    for connection in range(1, _MAX_CONNECTIONS + 1):
        refused_before = len(refused)
        _wait_for_penalties(request, too_many)
        try:
            return _try_once(request, _candidates(known, find), refused)
        except TooManyAuthFailures as error:
            if connection == _MAX_CONNECTIONS or len(refused) == refused_before or deadline.passed():
                raise RetryableError("no key", error, "it accepts only few tries") from error
            request, too_many = replace(request, respond_by=deadline), error
    raise ValueError("there is at least one connection")


def _candidates(known: list[KeyCandidate], find: Callable[[], list[KeyCandidate]]) -> Iterator[KeyCandidate]:
    """``known``, then the others: the agent gets a request for them only when the server has refused ``known``."""
    yield from known
    tried = [candidate.presented for candidate in known]
    yield from (candidate for candidate in find() if candidate.presented not in tried)


def _wait_for_penalties(request: ConnectRequest, last_error: TooManyAuthFailures | None) -> None:
    """Raises ``RetryableError`` with ``last_error``, if there is one, when they outlast the deadline."""
    instance, deadline = request.instance, request.deadline
    pause_s = request.keys.penalties.pause_s((instance.address, instance.port))
    if pause_s > 0 and pause_s >= deadline.remaining_s():
        what = f"{instance.where} blocks logins from this address for now"
        why = f"it blocks addresses with many failed logins (PerSourcePenalties): {pause_s:.0f} s more"
        raise RetryableError("too soon", last_error or SshError("ssh-refused", what, why, LONGER_TIMEOUT_HINT))
    if pause_s >= 1:
        request.progress(f"Waiting {pause_s:.0f} s: {instance.where} blocks addresses with many failed logins")
    deadline.sleep(pause_s)


def _try_once(request: ConnectRequest, candidates: Iterable[KeyCandidate], refused: set[tuple[str, bytes]]) -> Session:
    instance, settings, keys = request.instance, request.settings, request.keys
    with ExitStack() as undo:
        transport, host_key, how_known = open_verified(request, undo, connect_with_retries)
        try:
            accepted = _log_in(transport, request, candidates, refused)
        except BaseException:
            keys.penalties.add((instance.address, instance.port), LOGIN_PENALTY_S)
            raise
        keys.remember_accepted(accepted, instance.host_key_name, settings)
        key = accepted.key if accepted else None
        return Session(
            transport,
            request,
            host_key=host_key,
            how_known=how_known,
            key=key,
            release=undo.pop_all().close,
        )


def _log_in(
    transport: Transport,
    request: ConnectRequest,
    candidates: Iterable[KeyCandidate],
    refused: set[tuple[str, bytes]],
) -> KeyCandidate | None:
    where, deadline = request.instance.where, request.deadline
    try:
        return authenticate(
            transport,
            request.user,
            candidates,
            refused=refused,
            keys=request.keys,
            prompt=request.prompt,
            deadline=deadline,
            on_wait=WaitProgress(request.progress, lambda: f"the login at {where}", deadline),
        )
    except TooManyAuthFailures:
        raise
    except DeadlinePassed as error:
        why = transport.server_text.append_to(f"{error.what}; the host key is verified")
        raise SshError("ssh-unreachable", f"The login at {where} timed out", why, LONGER_TIMEOUT_HINT) from error
    except SshError as error:
        if error.code == "no-usable-key":
            raise RetryableError("no key", error, "it rejects the key") from error
        if ended := transport.sock_close_reason():
            is_command = request.settings.proxy_command is not None and not request.settings.proxy_jump
            raise connection_lost_error(where, "during the login", ended, is_command=is_command) from error
        if error.code == "ssh-unreachable":
            raise hung_up_error(where, transport.server_text.append_to(error.why)) from error
        raise
