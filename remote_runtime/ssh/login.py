"""Authentication: one key after the other, then a second factor; one login."""

from __future__ import annotations

from collections.abc import Sequence

import paramiko

from ..errors import SshError
from ..protocols import Ask
from ..untrusted import clean_line
from ..waits import Deadline
from .conversation import Answer, Conversation
from .keys import Candidate, Keys
from .link import Link

_CODE_TRIES = 3


class FewTries(SshError):
    """``no-usable-key``: the server hung up before every key was tried. Others may be tried on a new connection."""


def log_in(
    link: Link,
    user: str,
    candidates: Sequence[Candidate],
    *,
    refused: set[tuple[str, bytes]],
    keys: Keys,
    ask: Ask,
    deadline: Deadline,
) -> paramiko.PKey | None:
    """The key that was accepted, None if the machine wanted none. One login at most.

    ``refused``: ``id`` of each that this server has refused before, which is not tried again; more are added.

    Raises ``FewTries``, ``SshError`` ``no-usable-key``, ``passphrase-needed``, ``two-factor-needed``,
    ``ssh-unreachable`` (the link died), ``DeadlinePassed``, ``Interrupted``.
    """
    talk = Conversation(link, user, deadline)
    answer = talk.begin() if candidates else talk.try_nothing()
    left = [candidate for candidate in candidates if candidate.id not in refused]
    tried: list[tuple[str, bytes]] = []
    try:
        for candidate in left:
            if answer.kind == "accepted" or "publickey" not in answer.methods:
                break
            tried.append(candidate.id)
            if candidate.key is None and candidate.shown and not talk.would_accept(candidate.shown):
                continue
            key = candidate.key or keys.unlock(candidate, ask)
            talk.be_patient()
            answer = talk.offer(key)
            if answer.kind == "accepted":
                return key
            if answer.kind == "more" and (
                "keyboard-interactive" in answer.methods or "publickey" not in answer.methods
            ):
                return _second_factor(talk, answer, key, ask)
    except SshError as error:
        if error.code == "ssh-unreachable" and "too many authentication failures" in error.why.lower():
            refused.update(tried)
            raise _too_many(user, [label for label, _ in sorted(refused)]) from error
        raise
    if answer.kind == "accepted":
        return None
    refused.update(tried)
    raise _refused(user, [each.label for each in candidates if each.id in refused], answer)


def is_silent(link: Link, key: paramiko.PKey) -> bool:
    """Whether the login with ``key`` asked nobody, and another would not either: an agent may want its user's consent,
    a second factor may ring a telephone."""
    return not isinstance(key, paramiko.AgentKey) and link.auth_handler.auth_method != "keyboard-interactive"


def _second_factor(talk: Conversation, answer: Answer, key: paramiko.PKey, ask: Ask) -> paramiko.PKey:
    before = ""
    for _ in range(_CODE_TRIES):
        if "keyboard-interactive" not in answer.methods:
            break
        answer = talk.ask_me()
        while answer.kind == "asks":
            replies = [_reply(before, answer, prompt, secret=not echo, ask=ask) for prompt, echo in answer.prompts]
            before = ""
            talk.be_patient()
            answer = talk.reply(replies)
        if answer.kind == "accepted":
            return key
        before = "Not accepted. "
    methods = ", ".join(answer.methods)
    raise SshError("two-factor-needed", "The machine does not accept the second factor", f"it still wants: {methods}")


def _reply(before: str, answer: Answer, prompt: str, *, secret: bool, ask: Ask) -> str:
    text = clean_line(prompt, 200).rstrip(": ") or "Answer"
    told = clean_line(answer.instructions, 500)
    return ask(before + (f"{told} {text}" if told else text), secret=secret, code="two-factor-needed")


def _too_many(user: str, tried: Sequence[str]) -> FewTries:
    why = f"as {user} it refused {', '.join(tried)} and closed the connection before the other keys could be tried"
    hint = "Name the right key in `ssh.identity_file` and set `IdentitiesOnly yes` in ~/.ssh/config"
    return FewTries("no-usable-key", "The machine's SSH server accepts only few tries", why, hint)


def _refused(user: str, tried: Sequence[str], answer: Answer) -> SshError:
    why = f"as {user} it refused {', '.join(tried)}" if tried else f"there is no key to offer as {user}"
    if "publickey" not in answer.methods and answer.methods:
        why += f"; it accepts {', '.join(answer.methods)} only, and passwords are not supported"
    return SshError(
        "no-usable-key", "The machine accepts none of the keys", why, "Set `ssh.user` and `ssh.identity_file`"
    )
