"""The words of the authentication protocol (RFC 4252, RFC 4256), each answered before a deadline."""

from __future__ import annotations

import contextlib
import queue
from collections.abc import Callable, Iterator, Sequence
from dataclasses import field
from typing import Any, Literal

import paramiko
from paramiko.auth_handler import AuthHandler

from ...core.deadline import Deadline
from ...core.errors import DeadlinePassed
from ...core.frozen import dataclass
from ...core.sanitize import clean_line
from ..transport.transport import Link
from ..transport.version_exchange import as_text
from .agent import limit_signing

_TICK_S = 0.1
_ANSWERS_KEPT = 100
_AuthHandler: Any = AuthHandler


@dataclass(frozen=True)
class Answer:
    """``refused`` and ``more`` (accepted, but not enough) name the ``methods`` that may go on. ``unsigned``: why the
    key was not offered."""

    kind: Literal["begun", "accepted", "refused", "more", "asks", "would accept"]
    methods: tuple[str, ...] = ()
    instructions: str = ""
    unsigned: str = ""
    prompts: tuple[tuple[str, bool], ...] = field(default=(), repr=False)


class Conversation(_AuthHandler):  # type: ignore[misc]  # paramiko's types leave out the methods that we override
    """paramiko's handler signs at once, asks questions in its network thread and waits in ticks of its own; this one
    only queues what the server says, and the caller's thread answers before its deadline."""

    def __init__(self, link: Link, user: str, deadline: Deadline, waiting: Callable[[], None]) -> None:
        super().__init__(link)
        self._link = link
        self._user = user
        self._deadline = deadline
        self._within_s = deadline.within_s
        self._waiting = waiting
        self._answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        link.auth_handler = self

    def begin(self) -> Answer:
        message = paramiko.Message()
        message.add_byte(bytes([5]))  # SSH_MSG_SERVICE_REQUEST
        message.add_string("ssh-userauth")
        self._say(message)
        self._next("begun")
        return Answer("refused", ("publickey",))

    def try_nothing(self) -> Answer:
        """Some servers let people in by where they come from; others tell what they want."""
        self.begin()
        self._say(self._asking_for("none"))
        return self._next("accepted", "refused", "more")

    def would_accept(self, blob: bytes) -> Answer:
        """Whether a signature by this key is worth a question (RFC 4252 7)."""
        kind = paramiko.Message(blob).get_text()
        try:
            algorithm = self._finalize_pubkey_algorithm(kind)
        except paramiko.SSHException:
            return Answer("refused", ("publickey",))
        message = self._asking_for("publickey")
        message.add_boolean(False)
        message.add_string(algorithm)
        message.add_string(blob)
        self._say(message)
        return self._next("would accept", "refused")

    def offer(self, key: paramiko.PKey) -> Answer:
        kind, bits = self._get_key_type_and_bits(key)
        limit_signing(key, self._deadline.remaining_s())
        try:
            algorithm = self._finalize_pubkey_algorithm(kind)
            signature = key.sign_ssh_data(
                self._get_session_blob(key, "ssh-connection", self._user, algorithm), algorithm
            )
        except (paramiko.SSHException, OSError, EOFError) as error:
            # An agent that declines or has gone, a key type that the server does not know.
            why = clean_line(str(error), 200) or type(error).__name__
            return Answer("refused", ("publickey",), unsigned=why)
        message = self._asking_for("publickey")
        message.add_boolean(True)
        message.add_string(algorithm)
        message.add_string(bits)
        message.add_string(signature)
        self._say(message)
        return self._next("accepted", "refused", "more")

    def ask_me(self) -> Answer:
        message = self._asking_for("keyboard-interactive")
        message.add_string("")
        message.add_string("")
        self.auth_method = "keyboard-interactive"
        self._say(message)
        return self._next("accepted", "refused", "more", "asks")

    def reply(self, replies: Sequence[str]) -> Answer:
        message = paramiko.Message()
        message.add_byte(bytes([61]))  # SSH_MSG_USERAUTH_INFO_RESPONSE
        message.add_int(len(replies))
        for text in replies:
            message.add_string(text)
        self._say(message)
        return self._next("accepted", "refused", "more", "asks")

    def give_password(self, password: str) -> Answer:
        """``asks``: the server wants another password first (RFC 4252 8)."""
        message = self._asking_for("password")
        message.add_boolean(False)
        message.add_string(password)
        self.auth_method = "password"
        self._say(message)
        return self._next("accepted", "refused", "more", "asks")

    @contextlib.contextmanager
    def a_person_is_asked(self) -> Iterator[None]:
        """However long that takes: the server still has what was left of its time before."""
        left_s = self._deadline.remaining_s()
        yield
        self._deadline = Deadline(left_s, self._deadline.called_off)

    def _asking_for(self, method: str) -> paramiko.Message:
        message = paramiko.Message()
        message.add_byte(bytes([50]))  # SSH_MSG_USERAUTH_REQUEST
        for text in (self._user, "ssh-connection", method):
            message.add_string(text)
        return message

    def _say(self, message: paramiko.Message) -> None:
        self._link.send_within(message, self._deadline)

    def _next(self, *kinds: str) -> Answer:
        """Whatever else the server says, and however much of it: before the deadline."""
        while True:
            self._deadline.check()
            self._waiting()
            answer = None
            with contextlib.suppress(queue.Empty):
                answer = self._answers.get(timeout=_TICK_S)
            if answer is not None and answer.kind in kinds:
                return answer
            if answer is None and not self._link.active:
                raise self._link.lost()
            if self._deadline.passed():
                raise DeadlinePassed(f"Logging in took more than {self._within_s:.0f} s")

    # paramiko's thread calls what follows.

    @property
    def _client_handler_table(self) -> dict[int, Any]:
        return {6: self._begun, 51: self._failed, 52: self._succeeded, 53: self._greeted, 60: self._continued}

    def _begun(self, m: paramiko.Message) -> None:
        self._keep(Answer("begun"))

    def _failed(self, m: paramiko.Message) -> None:
        methods, partial = tuple(clean_line(name, 64) for name in m.get_list()), m.get_boolean()
        self._keep(Answer("more" if partial else "refused", methods))

    def _succeeded(self, m: paramiko.Message) -> None:
        self.authenticated = True
        self._link._auth_trigger()
        self._keep(Answer("accepted"))

    def _greeted(self, m: paramiko.Message) -> None:
        """The banner (RFC 4252 5.4): why it lets nobody in, for example."""
        self._link.said.add(m.get_string())

    def _continued(self, m: paramiko.Message) -> None:
        if self.auth_method == "password":  # SSH_MSG_USERAUTH_PASSWD_CHANGEREQ has the same number
            self._keep(Answer("asks", instructions=as_text(m.get_string())))
            return
        if self.auth_method != "keyboard-interactive":
            self._keep(Answer("would accept"))  # SSH_MSG_USERAUTH_PK_OK has the same number
            return
        m.get_string()
        instructions = as_text(m.get_string())
        m.get_string()
        prompts = tuple((as_text(m.get_string()), m.get_boolean()) for _ in range(min(m.get_int(), 16)))
        self._keep(Answer("asks", instructions=instructions, prompts=prompts))

    def _keep(self, answer: Answer) -> None:
        if self._answers.qsize() > _ANSWERS_KEPT:
            raise paramiko.SSHException("the server talks too much during the login")
        self._answers.put(answer)
