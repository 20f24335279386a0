"""Authentication: one service request, then one key after the other, then a second factor (RFC 4252, RFC 4256)."""

from __future__ import annotations

import queue
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import paramiko
from paramiko.auth_handler import AuthHandler

from ..errors import DeadlinePassed, SshError
from ..model import Ask
from ..untrusted import clean_line
from ..waits import Deadline
from .keys import Candidate, Keys
from .link import Link

_TICK_S = 0.1
_ANSWERS_KEPT = 100
_AFTER_A_QUESTION_S = 15.0
_CODE_TRIES = 3
_AuthHandler: Any = AuthHandler


def log_in(
    link: Link, user: str, candidates: Sequence[Candidate], *, keys: Keys, ask: Ask, deadline: Deadline
) -> paramiko.PKey | None:
    """The key that was accepted, None if the machine wanted none. One login at most.

    Raises ``SshError`` ``no-usable-key``, ``passphrase-needed``, ``two-factor-needed``, ``ssh-unreachable`` (the
    link died), ``DeadlinePassed``, ``Interrupted``.
    """
    talk = _Conversation(link, user, deadline)
    answer = talk.begin() if candidates else talk.try_nothing()
    tried: list[str] = []
    try:
        for candidate in candidates:
            if answer.kind == "accepted" or "publickey" not in answer.methods:
                break
            if candidate.key is None and candidate.blob and not talk.would_accept(candidate.blob):
                tried.append(candidate.label)
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
            tried.append(candidate.label)
    except SshError as error:
        if error.code == "ssh-unreachable" and "too many authentication failures" in error.why.lower():
            raise _too_many(user, tried) from error
        raise
    if answer.kind == "accepted":
        return None
    raise _refused(user, tried, answer)


def _second_factor(talk: _Conversation, answer: _Answer, key: paramiko.PKey, ask: Ask) -> paramiko.PKey:
    for _ in range(_CODE_TRIES):
        if "keyboard-interactive" not in answer.methods:
            break
        answer = talk.ask_me()
        while answer.kind == "asks":
            replies = [_reply(answer, prompt, secret=not echo, ask=ask) for prompt, echo in answer.prompts]
            talk.be_patient()
            answer = talk.reply(replies)
        if answer.kind == "accepted":
            return key
    methods = ", ".join(answer.methods)
    raise SshError("two-factor-needed", "The machine does not accept the second factor", f"it still wants: {methods}")


def _reply(answer: _Answer, prompt: str, *, secret: bool, ask: Ask) -> str:
    text = clean_line(prompt, 200).rstrip(": ") or "Answer"
    told = clean_line(answer.instructions, 500)
    return ask(f"{told} {text}" if told else text, secret=secret, code="two-factor-needed")


@dataclass(frozen=True)
class _Answer:
    """``refused`` and ``more`` (accepted, but not enough) name the ``methods`` that may go on."""

    kind: Literal["begun", "accepted", "refused", "more", "asks", "would accept"]
    methods: tuple[str, ...] = ()
    instructions: str = ""
    prompts: tuple[tuple[str, bool], ...] = field(default=(), repr=False)


class _Conversation(_AuthHandler):  # type: ignore[misc]  # paramiko's types leave out the methods that we override
    """paramiko's handler signs at once, asks questions in its network thread and waits in ticks of its own; this one
    only queues what the server says, and the caller's thread answers before its deadline."""

    def __init__(self, link: Link, user: str, deadline: Deadline) -> None:
        super().__init__(link)
        self._link = link
        self._user = user
        self._deadline = deadline
        self._answers: queue.SimpleQueue[_Answer] = queue.SimpleQueue()
        link.auth_handler = self

    def begin(self) -> _Answer:
        message = paramiko.Message()
        message.add_byte(bytes([5]))  # SSH_MSG_SERVICE_REQUEST
        message.add_string("ssh-userauth")
        self._say(message)
        self._next("begun")
        return _Answer("refused", ("publickey",))

    def try_nothing(self) -> _Answer:
        """Some servers let people in by where they come from; others tell what they want."""
        self.begin()
        self._say(self._asking_for("none"))
        return self._next("accepted", "refused", "more")

    def would_accept(self, blob: bytes) -> bool:
        """Whether a signature by this key is worth a question (RFC 4252 7)."""
        kind = paramiko.Message(blob).get_text()
        try:
            algorithm = self._finalize_pubkey_algorithm(kind)
        except paramiko.SSHException:
            return False
        message = self._asking_for("publickey")
        message.add_boolean(False)
        message.add_string(algorithm)
        message.add_string(blob)
        self._say(message)
        return self._next("would accept", "refused").kind == "would accept"

    def offer(self, key: paramiko.PKey) -> _Answer:
        kind, bits = self._get_key_type_and_bits(key)
        try:
            algorithm = self._finalize_pubkey_algorithm(kind)
            signature = key.sign_ssh_data(
                self._get_session_blob(key, "ssh-connection", self._user, algorithm), algorithm
            )
        except (paramiko.SSHException, OSError):  # an agent that declines, a key type that the server does not know
            return _Answer("refused", ("publickey",))
        message = self._asking_for("publickey")
        message.add_boolean(True)
        message.add_string(algorithm)
        message.add_string(bits)
        message.add_string(signature)
        self._say(message)
        return self._next("accepted", "refused", "more")

    def ask_me(self) -> _Answer:
        message = self._asking_for("keyboard-interactive")
        message.add_string("")
        message.add_string("")
        self.auth_method = "keyboard-interactive"
        self._say(message)
        return self._next("accepted", "refused", "more", "asks")

    def reply(self, replies: Sequence[str]) -> _Answer:
        message = paramiko.Message()
        message.add_byte(bytes([61]))  # SSH_MSG_USERAUTH_INFO_RESPONSE
        message.add_int(len(replies))
        for text in replies:
            message.add_string(text)
        self._say(message)
        return self._next("accepted", "refused", "more", "asks")

    def be_patient(self) -> None:
        """A person may have taken long to answer; the rest still needs a moment."""
        if self._deadline.remaining_s() < _AFTER_A_QUESTION_S:
            self._deadline = Deadline(_AFTER_A_QUESTION_S, self._deadline.called_off)

    def _asking_for(self, method: str) -> paramiko.Message:
        message = paramiko.Message()
        message.add_byte(bytes([50]))  # SSH_MSG_USERAUTH_REQUEST
        for text in (self._user, "ssh-connection", method):
            message.add_string(text)
        return message

    def _say(self, message: paramiko.Message) -> None:
        self._link.send_within(message, self._deadline)

    def _next(self, *kinds: str) -> _Answer:
        while True:
            try:
                answer = self._answers.get(timeout=_TICK_S)
            except queue.Empty:
                self._deadline.check()
                if not self._link.active:
                    raise self._link.lost() from None
                if self._deadline.passed():
                    raise DeadlinePassed(f"logging in took more than {self._deadline.within_s:.0f} s") from None
                continue
            if answer.kind in kinds:
                return answer

    # paramiko's thread calls what follows.

    @property
    def _client_handler_table(self) -> dict[int, Any]:
        return {6: self._begun, 51: self._failed, 52: self._succeeded, 53: self._greeted, 60: self._continued}

    def _begun(self, m: paramiko.Message) -> None:
        self._keep(_Answer("begun"))

    def _failed(self, m: paramiko.Message) -> None:
        methods, partial = tuple(clean_line(name, 64) for name in m.get_list()), m.get_boolean()
        self._keep(_Answer("more" if partial else "refused", methods))

    def _succeeded(self, m: paramiko.Message) -> None:
        self.authenticated = True
        self._link._auth_trigger()
        self._keep(_Answer("accepted"))

    def _greeted(self, m: paramiko.Message) -> None:
        """The banner: nothing to act on, and nothing that we repeat."""

    def _continued(self, m: paramiko.Message) -> None:
        if self.auth_method != "keyboard-interactive":
            self._keep(_Answer("would accept"))  # SSH_MSG_USERAUTH_PK_OK has the same number
            return
        m.get_text()
        instructions = m.get_text()
        m.get_text()
        prompts = tuple((m.get_text(), m.get_boolean()) for _ in range(min(m.get_int(), 16)))
        self._keep(_Answer("asks", instructions=instructions, prompts=prompts))

    def _keep(self, answer: _Answer) -> None:
        if self._answers.qsize() > _ANSWERS_KEPT:
            raise paramiko.SSHException("the server talks too much during the login")
        self._answers.put(answer)


def _too_many(user: str, tried: Sequence[str]) -> SshError:
    why = f"as {user} it refused {', '.join(tried)} and closed the connection before the other keys could be tried"
    hint = "name the right key in `ssh.identity_file` and set `IdentitiesOnly yes` in ~/.ssh/config"
    return SshError("no-usable-key", "The machine's SSH server accepts only few tries", why, hint)


def _refused(user: str, tried: Sequence[str], answer: _Answer) -> SshError:
    why = f"as {user} it refused {', '.join(tried)}" if tried else f"there is no key to offer as {user}"
    if "publickey" not in answer.methods and answer.methods:
        why += f"; it accepts {', '.join(answer.methods)} only, and passwords are not supported"
    return SshError(
        "no-usable-key", "The machine accepts none of the keys", why, "set `ssh.user` and `ssh.identity_file`"
    )
