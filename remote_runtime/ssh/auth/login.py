"""Authentication: one key after the other, then a second factor; one login."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import chain

import paramiko

from ...core.callbacks import Ask
from ...core.deadline import Deadline
from ...core.errors import SshError
from ..transport.transport import Link
from ..transport.version_exchange import Said
from .auth_handler import Answer, Conversation
from .candidate import Candidate
from .key_files import Fault
from .keys import Keys
from .second_factor import BY_A_PERSON, SecondFactor

_FAULTS_SHOWN = 5
_LABELS_SHOWN = 12


class FewTries(SshError):
    """``no-usable-key``: the server hung up before every key was tried. Others may be tried on a new connection."""


def log_in(
    link: Link,
    user: str,
    candidates: Iterable[Candidate],
    *,
    refused: set[tuple[str, bytes]],
    keys: Keys,
    ask: Ask,
    deadline: Deadline,
    waiting: Callable[[], None],
) -> Candidate | None:
    """The one that was accepted, with its ``key``; None if the machine wanted none. One login at most.

    ``candidates``: taken one after the other, as they are needed. ``refused``: ``id`` of each that this server has
    refused before, which is not tried again; more are added. ``waiting``: called while the server is waited for.

    Raises ``FewTries``, ``SshError`` ``no-usable-key``, ``passphrase-needed``, ``two-factor-needed``,
    ``ssh-unreachable`` (the link died), ``DeadlinePassed``, ``Interrupted``.
    """
    talk = Conversation(link, user, deadline, waiting)
    rest = iter(candidates)
    first = next(rest, None)
    answer = talk.begin() if first else talk.try_nothing()
    tried: list[Candidate] = []
    before: list[str] = []
    unsigned: list[Fault] = []
    try:
        for candidate in chain([first] if first else [], rest):
            if answer.kind == "accepted" or "publickey" not in answer.methods:
                break
            if candidate.id in refused:
                before.append(candidate.label)
                continue
            if candidate.shown and candidate.shown in [each.shown for each in tried]:
                continue  # a file's, which the agent has too
            tried.append(candidate)
            if candidate.key is None and candidate.shown:
                seen = talk.would_accept(candidate.shown)
                if seen.kind != "would accept":
                    answer = seen
                    continue
            with talk.a_person_is_asked():
                key = candidate.key or keys.unlock(candidate, ask)
            answer = talk.offer(key)
            if answer.unsigned:
                tried.remove(candidate)
                unsigned.append(Fault(f"{candidate.label}: nothing can be signed with it: {answer.unsigned}"))
                continue
            if answer.kind == "accepted":
                return replace(candidate, key=key)
            if answer.kind == "more" and (
                "keyboard-interactive" in answer.methods or "publickey" not in answer.methods
            ):
                SecondFactor(talk, ask, user).give(answer)
                return replace(candidate, key=key)
    except SshError as error:
        if error.code == "ssh-unreachable" and "too many authentication failures" in error.why.lower():
            refused.update(candidate.id for candidate in tried)
            raise _too_many(user, [label for label, _ in sorted(refused)]) from error
        raise
    if answer.kind == "accepted":
        return None
    refused.update(candidate.id for candidate in tried)
    labels = [*before, *(candidate.label for candidate in tried)]
    faults = [*unsigned, *(candidate.fault for candidate in tried if candidate.fault), *keys.passed_over]
    raise _refused(user, labels, answer, faults, link.said)


def is_silent(link: Link, key: paramiko.PKey) -> bool:
    """Whether the login with ``key`` asked nobody, and another would not either: an agent may want its user's consent,
    a second factor may ring a telephone."""
    return not isinstance(key, paramiko.AgentKey) and link.auth_handler.auth_method not in BY_A_PERSON


def _too_many(user: str, tried: Sequence[str]) -> FewTries:
    why = f"as {user} it refused {_listed(tried)} and closed the connection before the other keys could be tried"
    hint = "Name the right key in `ssh.identity_file` and set `IdentitiesOnly yes` in ~/.ssh/config"
    return FewTries("no-usable-key", "The machine's SSH server accepts only few tries", why, hint)


def _refused(user: str, tried: Sequence[str], answer: Answer, faults: Sequence[Fault], said: Said) -> SshError:
    what = "The machine accepts none of the keys" if tried else "No key can be offered to the machine"
    why = f"as {user} it refused {_listed(tried)}" if tried else f"there is no key to offer as {user}"
    hint = "Set `ssh.user` and `ssh.identity_file`"
    if "publickey" not in answer.methods and answer.methods:
        why += f"; it accepts {', '.join(answer.methods)} only, and passwords are not supported"
        hint = "Set `PubkeyAuthentication yes` in its sshd_config, and allow `publickey` in its `AuthenticationMethods`"
    else:
        hint = next((fault.hint for fault in faults if fault.hint), hint)
    why += "".join(f"; {fault.why}" for fault in faults[:_FAULTS_SHOWN] if fault.why not in why)
    return SshError("no-usable-key", what, said.after(why), hint)


def _listed(labels: Sequence[str]) -> str:
    more = len(labels) - _LABELS_SHOWN
    return ", ".join([*labels[:_LABELS_SHOWN], *([f"{more} more"] if more > 0 else [])])
