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
from ...core.fast_dataclass import fast_dataclass
from ...core.sanitize import clean_line
from ..transport.transport import Transport
from ..transport.version_exchange import decode_text
from .agent import limit_signing

_TICK_S = 0.1
_MAX_QUEUED_REPLIES = 100
_ParamikoAuthHandler: Any = AuthHandler


@fast_dataclass(frozen=True)
class AuthReply:
    """``refused`` and ``more`` (accepted, but not enough) name the ``methods`` that may go on. ``unsigned``: why the
    key was not offered."""

    kind: Literal["begun", "accepted", "refused", "more", "asks", "would accept"]
    methods: tuple[str, ...] = ()
    instructions: str = ""
    signing_error: str = ""
    prompts: tuple[tuple[str, bool], ...] = field(default=(), repr=False)


class AuthClient(_ParamikoAuthHandler):  # type: ignore[misc]  # paramiko's types leave out the methods that we override
    """paramiko's handler signs at once, asks questions in its network thread and waits in ticks of its own; this one
    only queues what the server says, and the caller's thread answers before its deadline."""

    def __init__(self, transport: Transport, user: str, deadline: Deadline, on_wait: Callable[[], None]) -> None:
        super().__init__(transport)
        self._transport = transport
        self._user = user
        self._deadline = deadline
        self._within_s = deadline.timeout_s
        self._on_wait = on_wait
        self._replies: queue.SimpleQueue[AuthReply] = queue.SimpleQueue()
        transport.auth_handler = self

    def start(self) -> AuthReply:
        message = paramiko.Message()
        message.add_byte(bytes([5]))  # SSH_MSG_SERVICE_REQUEST
        message.add_string("ssh-userauth")
        self._send(message)
        self._wait_for("begun")
        return AuthReply("refused", ("publickey",))

    def auth_none(self) -> AuthReply:
        """Some servers let people in by where they come from; others tell what they want."""
        self.start()
        self._send(self._auth_request("none"))
        return self._wait_for("accepted", "refused", "more")

    def query_key(self, blob: bytes) -> AuthReply:
        """Whether a signature by this key is worth a question (RFC 4252 7)."""
        kind = paramiko.Message(blob).get_text()
        try:
            algorithm = self._finalize_pubkey_algorithm(kind)
        except paramiko.SSHException:
            return AuthReply("refused", ("publickey",))
        message = self._auth_request("publickey")
        message.add_boolean(False)
        message.add_string(algorithm)
        message.add_string(blob)
        self._send(message)
        return self._wait_for("would accept", "refused")

    def auth_publickey(self, key: paramiko.PKey) -> AuthReply:
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
            return AuthReply("refused", ("publickey",), signing_error=why)
        message = self._auth_request("publickey")
        message.add_boolean(True)
        message.add_string(algorithm)
        message.add_string(bits)
        message.add_string(signature)
        self._send(message)
        return self._wait_for("accepted", "refused", "more")

    def auth_interactive(self) -> AuthReply:
        message = self._auth_request("keyboard-interactive")
        message.add_string("")
        message.add_string("")
        self.auth_method = "keyboard-interactive"
        self._send(message)
        return self._wait_for("accepted", "refused", "more", "asks")

    def send_responses(self, responses: Sequence[str]) -> AuthReply:
        message = paramiko.Message()
        message.add_byte(bytes([61]))  # SSH_MSG_USERAUTH_INFO_RESPONSE
        message.add_int(len(responses))
        for text in responses:
            message.add_string(text)
        self._send(message)
        return self._wait_for("accepted", "refused", "more", "asks")

    def auth_password(self, password: str) -> AuthReply:
        """``asks``: the server wants another password first (RFC 4252 8)."""
        message = self._auth_request("password")
        message.add_boolean(False)
        message.add_string(password)
        self.auth_method = "password"
        self._send(message)
        return self._wait_for("accepted", "refused", "more", "asks")

    @contextlib.contextmanager
    def pause_deadline(self) -> Iterator[None]:
        """However long that takes: the server still has what was left of its time before."""
        left_s = self._deadline.remaining_s()
        yield
        self._deadline = Deadline(left_s, self._deadline.cancelled)

    def _auth_request(self, method: str) -> paramiko.Message:
        message = paramiko.Message()
        message.add_byte(bytes([50]))  # SSH_MSG_USERAUTH_REQUEST
        for text in (self._user, "ssh-connection", method):
            message.add_string(text)
        return message

    def _send(self, message: paramiko.Message) -> None:
        self._transport.send_within(message, self._deadline)

    def _wait_for(self, *kinds: str) -> AuthReply:
        """Whatever else the server says, and however much of it: before the deadline."""
        while True:
            self._deadline.check()
            self._on_wait()
            answer = None
            with contextlib.suppress(queue.Empty):
                answer = self._replies.get(timeout=_TICK_S)
            if answer is not None and answer.kind in kinds:
                return answer
            if answer is None and not self._transport.active:
                raise self._transport.lost_error()
            if self._deadline.passed():
                raise DeadlinePassed(f"Logging in took more than {self._within_s:.0f} s")

    # paramiko's thread calls what follows.

    @property
    def _client_handler_table(self) -> dict[int, Any]:
        return {
            6: self._on_service_accept,
            51: self._on_failure,
            52: self._on_success,
            53: self._on_banner,
            60: self._on_info_request,
        }

    def _on_service_accept(self, m: paramiko.Message) -> None:
        self._enqueue(AuthReply("begun"))

    def _on_failure(self, m: paramiko.Message) -> None:
        methods, partial = tuple(clean_line(name, 64) for name in m.get_list()), m.get_boolean()
        self._enqueue(AuthReply("more" if partial else "refused", methods))

    def _on_success(self, m: paramiko.Message) -> None:
        self.authenticated = True
        self._transport._auth_trigger()
        self._enqueue(AuthReply("accepted"))

    def _on_banner(self, m: paramiko.Message) -> None:
        """The banner (RFC 4252 5.4): why it lets nobody in, for example."""
        self._transport.server_text.add(m.get_string())

    def _on_info_request(self, m: paramiko.Message) -> None:
        if self.auth_method == "password":  # SSH_MSG_USERAUTH_PASSWD_CHANGEREQ has the same number
            self._enqueue(AuthReply("asks", instructions=decode_text(m.get_string())))
            return
        if self.auth_method != "keyboard-interactive":
            self._enqueue(AuthReply("would accept"))  # SSH_MSG_USERAUTH_PK_OK has the same number
            return
        m.get_string()
        instructions = decode_text(m.get_string())
        m.get_string()
        prompts = tuple((decode_text(m.get_string()), m.get_boolean()) for _ in range(min(m.get_int(), 16)))
        self._enqueue(AuthReply("asks", instructions=instructions, prompts=prompts))

    def _enqueue(self, answer: AuthReply) -> None:
        if self._replies.qsize() > _MAX_QUEUED_REPLIES:
            raise paramiko.SSHException("the server talks too much during the login")
        self._replies.put(answer)
