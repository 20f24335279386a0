"""Authentication: one key after the other, then answers to questions (RFC 4256) or a password (RFC 4252 8)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import chain

from ...core.callbacks import Prompt
from ...core.deadline import Deadline
from ...core.errors import SshError
from ...core.sanitize import clean_line
from ..transport.server_text import ServerText
from ..transport.transport import Transport
from .auth_handler import AuthClient, AuthReply
from .candidate import KeyCandidate
from .key_files import KeyFault
from .keys import Keys

_MAX_TRIES = 3
# Each question of a login is a round, and OpenSSH ends each try with a round without a question.
_MAX_ROUNDS = 8
_MAX_FAULTS_SHOWN = 5
_MAX_LABELS_SHOWN = 12


class TooManyAuthFailures(SshError):
    """``no-usable-key``: the server closed the connection before every key was tried; the others need a new one."""


def authenticate(
    transport: Transport,
    user: str,
    candidates: Iterable[KeyCandidate],
    *,
    refused: set[tuple[str, bytes]],
    keys: Keys,
    prompt: Prompt,
    deadline: Deadline,
    on_wait: Callable[[], None],
) -> KeyCandidate | None:
    """The candidate that was accepted, with its ``key``; None if the server wanted none. One login at most.

    ``candidates``: an iterator may look for each when it is needed. ``refused``: ``id`` of each that this server has
    refused; they are not tried again, and more are added. ``on_wait``: called often during the waits.

    Raises ``TooManyAuthFailures``, ``SshError`` ``no-usable-key``, ``passphrase-needed``, ``two-factor-needed``,
    ``ssh-unreachable`` (the connection is lost), ``DeadlinePassed``, ``Interrupted``.
    """
    auth = AuthClient(transport, user, deadline, on_wait)
    rest = iter(candidates)
    first = next(rest, None)
    answer = auth.start() if first else auth.auth_none()
    tried: list[KeyCandidate] = []
    refused_before: list[str] = []
    unsigned: list[KeyFault] = []
    try:
        for candidate in chain([first] if first else [], rest):
            if answer.kind == "accepted" or "publickey" not in answer.methods:
                break
            if candidate.id in refused:
                refused_before.append(candidate.label)
                continue
            if candidate.presented and candidate.presented in [each.presented for each in tried]:
                continue  # of a file, and the agent has it too
            tried.append(candidate)
            if candidate.key is None and candidate.presented:
                queried = auth.query_key(candidate.presented)
                if queried.kind != "would accept":
                    answer = queried
                    continue
            with auth.pause_deadline():
                key = candidate.key or keys.unlock(candidate, prompt)
            answer = auth.auth_publickey(key)
            if answer.signing_error:
                tried.remove(candidate)
                unsigned.append(KeyFault(f"{candidate.label}: nothing can be signed with it: {answer.signing_error}"))
                continue
            if answer.kind == "accepted":
                return replace(candidate, key=key)
            methods = answer.methods
            if answer.kind == "more" and ("keyboard-interactive" in methods or "publickey" not in methods):
                _SecondFactor(auth, prompt, user).complete(answer)
                return replace(candidate, key=key)
    except SshError as error:
        if error.code == "ssh-unreachable" and "too many authentication failures" in error.why.lower():
            refused.update(candidate.id for candidate in tried)
            raise _too_many_failures(user, [label for label, _ in sorted(refused)]) from error
        raise
    if answer.kind == "accepted":
        return None
    refused.update(candidate.id for candidate in tried)
    labels = [*refused_before, *(candidate.label for candidate in tried)]
    faults = [*unsigned, *(candidate.fault for candidate in tried if candidate.fault), *keys.skipped]
    raise _no_usable_key(user, labels, answer, faults, transport.server_text)


def _too_many_failures(user: str, tried: Sequence[str]) -> TooManyAuthFailures:
    why = f"as {user} it rejected {_format_labels(tried)}, then closed the connection before the other keys"
    hint = "Set `ssh.identity_file` to the right key, and `IdentitiesOnly yes` in ~/.ssh/config"
    return TooManyAuthFailures("no-usable-key", "Too many authentication failures", why, hint)


def _no_usable_key(
    user: str, tried: Sequence[str], answer: AuthReply, faults: Sequence[KeyFault], server_text: ServerText
) -> SshError:
    methods = ",".join(answer.methods) or "publickey"
    what = f"Permission denied ({methods}) as {user}"
    why = f"it rejected {_format_labels(tried)}" if tried else "there is no usable SSH key"
    hint = "Set `ssh.user` and `ssh.identity_file`"
    if "publickey" not in answer.methods and answer.methods:
        why += f"; it accepts {', '.join(answer.methods)} only, and passwords are not supported"
        hint = "Set `PubkeyAuthentication yes` in its sshd_config, and allow `publickey` in its `AuthenticationMethods`"
    else:
        hint = next((fault.hint for fault in faults if fault.hint), hint)
    why += "".join(f"; {fault.why}" for fault in faults[:_MAX_FAULTS_SHOWN] if fault.why not in why)
    return SshError("no-usable-key", what, server_text.append_to(why), hint)


def _format_labels(labels: Sequence[str]) -> str:
    more = len(labels) - _MAX_LABELS_SHOWN
    return ", ".join([*labels[:_MAX_LABELS_SHOWN], *([f"{more} more"] if more > 0 else [])])


class _SecondFactor:
    """Prompts at most ``_MAX_ROUNDS`` times, whatever the server sends."""

    def __init__(self, auth: AuthClient, prompt: Prompt, user: str) -> None:
        self._auth = auth
        self._prompt = prompt
        self._user = user
        self._rounds = 0

    def complete(self, answer: AuthReply) -> None:
        """Returns when the server accepts the login. ``answer``: its reply to the key.

        Raises ``SshError`` ``two-factor-needed`` and ``ssh-unreachable``, ``DeadlinePassed``, ``Interrupted``.
        """
        prefix = ""
        for _ in range(_MAX_TRIES):
            if "keyboard-interactive" in answer.methods:
                answer = self._answer_questions(prefix)
            elif "password" in answer.methods:
                answer = self._give_password(prefix)
            else:
                break
            if answer.kind == "accepted":
                return
            prefix = "Not accepted. "
        raise _not_accepted(f"it still wants: {', '.join(answer.methods)}")

    def _answer_questions(self, prefix: str) -> AuthReply:
        answer = self._auth.auth_interactive()
        while answer.kind == "asks":
            self._rounds += 1
            if self._rounds > _MAX_ROUNDS:
                raise _not_accepted(f"it prompted {_MAX_ROUNDS} times")
            responses = [self._ask_one(prefix, answer, prompt, secret=not echo) for prompt, echo in answer.prompts]
            prefix = ""
            answer = self._auth.send_responses(responses)
        return answer

    def _give_password(self, prefix: str) -> AuthReply:
        answer = self._auth.auth_password(self._ask_user(f"{prefix}Password of {self._user}", secret=True))
        if answer.kind == "asks":
            why = f"the password has expired: {clean_line(answer.instructions, 200)}"
            raise _not_accepted(why, "Log in with `ssh` once and change the password")
        return answer

    def _ask_one(self, prefix: str, answer: AuthReply, prompt: str, *, secret: bool) -> str:
        text = clean_line(prompt, 200).rstrip(": ") or "Answer"
        instructions = clean_line(answer.instructions, 500)
        return self._ask_user(prefix + (f"{instructions} {text}" if instructions else text), secret=secret)

    def _ask_user(self, prompt: str, *, secret: bool) -> str:
        with self._auth.pause_deadline():
            return self._prompt(prompt, secret=secret, code="two-factor-needed")


def _not_accepted(why: str, hint: str = "") -> SshError:
    return SshError("two-factor-needed", "The machine rejected the 2FA code or password", why, hint)
