"""The client's side of the authentication protocol (RFC 4252, RFC 4256), each answer awaited before a deadline."""

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
from ..files.known_hosts import key_type
from ..transport.channel import message
from ..transport.server_text import decode_text
from ..transport.transport import Transport
from .agent import limit_signing

_TICK_S = 0.1
_SERVICE_REQUEST, _USERAUTH_REQUEST, _INFO_RESPONSE = 5, 50, 61  # RFC 4253 12, RFC 4252 6, RFC 4256 5
_DECIDED = ("accepted", "refused", "more")
_DECIDED_OR_ASKS = (*_DECIDED, "asks")
_MAX_QUEUED_REPLIES = 100
_ParamikoAuthHandler: Any = AuthHandler


@fast_dataclass(frozen=True)
class AuthReply:
    """``refused`` and ``more`` (accepted, but not enough) come with the ``methods`` that may follow.
    ``signing_error``: why the key was not offered."""

    kind: Literal["begun", "accepted", "refused", "more", "asks", "would accept"]
    methods: tuple[str, ...] = ()
    instructions: str = ""
    signing_error: str = ""
    prompts: tuple[tuple[str, bool], ...] = field(default=(), repr=False)


class AuthClient(_ParamikoAuthHandler):  # type: ignore[misc]  # paramiko's types leave out the methods that it overrides
    """paramiko's AuthHandler signs at once, and prompts in its network thread. Here that thread only queues the
    server's replies, and the caller's thread answers them before its deadline."""

    def __init__(self, transport: Transport, user: str, deadline: Deadline, on_wait: Callable[[], None]) -> None:
        super().__init__(transport)
        self._transport = transport
        self._user = user
        self._deadline = deadline
        self._timeout_s = deadline.timeout_s
        self._on_wait = on_wait
        self._replies: queue.SimpleQueue[AuthReply] = queue.SimpleQueue()
        transport.auth_handler = self

    def start(self) -> AuthReply:
        self._send(message(_SERVICE_REQUEST, "ssh-userauth"))
        self._wait_for("begun")
        return AuthReply("refused", ("publickey",))

    def auth_none(self) -> AuthReply:
        """Some servers accept this by the address of the client; others answer which methods they accept."""
        self.start()
        return self._request(_DECIDED, "none")

    def query_key(self, blob: bytes) -> AuthReply:
        """Whether the server would accept a signature by this key, which may need a prompt (RFC 4252 7)."""
        try:
            algorithm = self._finalize_pubkey_algorithm(key_type(blob))
        except paramiko.SSHException:
            return AuthReply("refused", ("publickey",))
        return self._request(("would accept", "refused"), "publickey", False, algorithm, blob)

    def auth_publickey(self, key: paramiko.PKey) -> AuthReply:
        kind, bits = self._get_key_type_and_bits(key)
        limit_signing(key, self._deadline.remaining_s())
        try:
            algorithm = self._finalize_pubkey_algorithm(kind)
            signed = self._get_session_blob(key, "ssh-connection", self._user, algorithm)
            signature: Any = key.sign_ssh_data(signed, algorithm)
        except (paramiko.SSHException, OSError, EOFError) as error:
            # An agent that declines or has gone, a key type that the server does not know.
            why = clean_line(str(error), 200) or type(error).__name__
            return AuthReply("refused", ("publickey",), signing_error=why)
        return self._request(_DECIDED, "publickey", True, algorithm, bits, _as_bytes(signature))

    def auth_interactive(self) -> AuthReply:
        self.auth_method = "keyboard-interactive"
        return self._request(_DECIDED_OR_ASKS, "keyboard-interactive", "", "")

    def send_responses(self, responses: Sequence[str]) -> AuthReply:
        self._send(message(_INFO_RESPONSE, len(responses), *responses))
        return self._wait_for(*_DECIDED_OR_ASKS)

    def auth_password(self, password: str) -> AuthReply:
        """``asks``: the server wants another password first (RFC 4252 8)."""
        self.auth_method = "password"
        return self._request(_DECIDED_OR_ASKS, "password", False, password)

    @contextlib.contextmanager
    def pause_deadline(self) -> Iterator[None]:
        """The time that a prompt takes does not count."""
        left_s = self._deadline.remaining_s()
        yield
        self._deadline = Deadline(left_s, self._deadline.cancelled)

    def _request(self, kinds: Sequence[str], method: str, *fields: bool | str | bytes) -> AuthReply:
        self._send(message(_USERAUTH_REQUEST, self._user, "ssh-connection", method, *fields))
        return self._wait_for(*kinds)

    def _send(self, data: paramiko.Message) -> None:
        self._transport.send_within(data, self._deadline)

    def _wait_for(self, *kinds: str) -> AuthReply:
        """The next reply of these kinds. Raises ``DeadlinePassed``, however much else the server sends."""
        while True:
            self._deadline.check()
            self._on_wait()
            reply = None
            with contextlib.suppress(queue.Empty):
                reply = self._replies.get(timeout=_TICK_S)
            if reply is not None and reply.kind in kinds:
                return reply
            if reply is None and not self._transport.active:
                raise self._transport.lost_error()
            if self._deadline.passed():
                raise DeadlinePassed(f"The login took more than {self._timeout_s:.0f} s")

    # Called in paramiko's thread.

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
        """RFC 4252 5.4."""
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

    def _enqueue(self, reply: AuthReply) -> None:
        if self._replies.qsize() > _MAX_QUEUED_REPLIES:
            raise paramiko.SSHException("the server talks too much during the login")
        self._replies.put(reply)


def _as_bytes(signature: Any) -> bytes:
    """paramiko returns an agent's as bytes, others as a ``Message``."""
    return signature if isinstance(signature, bytes) else bytes(signature.asbytes())
