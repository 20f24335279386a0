"""Whoever answers in our server's place, however it answers, is never taken for it and never makes us wait for ever."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
import re
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from remote_runtime.core.deadline import Deadline
from remote_runtime.core.errors import CODES, HealthError, Interrupted, RemoteRuntimeError
from remote_runtime.core.model import Secret
from remote_runtime.tunnel.identity import verify_identity

TOKEN = Secret("ab" * 24)
LIMIT_S = 0.05
many = settings(max_examples=150, database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow])


class Peer:
    """A connection whose other end answers a request with ``answer(nonce)``; ``sizes``: how many bytes each ``recv``
    gives; ``ends``: whether it closes its half then."""

    def __init__(self, answer: Callable[[str], bytes], *, sizes: Iterable[int] = (), ends: bool = False) -> None:
        self.heard = b""
        self._answer = answer
        self._sizes: Iterator[int] = itertools.chain(sizes, itertools.repeat(65536))
        self._ends = ends
        self._near, self._far = socket.socketpair()
        self._near.setblocking(False)
        self.fileno = self._near.fileno
        self.closed = False

    def writable(self) -> tuple[int, int]:
        return self.fileno(), selectors.EVENT_WRITE

    def send(self, data: bytes) -> int:
        self.heard += data
        asked = re.search(rb"nonce=([0-9a-f]+) HTTP/1.1\r\n[^\0]*\r\n\r\n$", self.heard)
        if asked:
            self._far.sendall(self._answer(asked.group(1).decode()))
            if self._ends:
                self._far.shutdown(socket.SHUT_WR)
        return len(data)

    def recv(self, size: int) -> bytes:
        return self._near.recv(min(size, next(self._sizes)))

    def shutdown_write(self) -> None:
        self._near.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._near.close()
        self._far.close()


def honest(nonce: str, token: Secret = TOKEN) -> bytes:
    proof = hmac.new(token.reveal().encode(), f"remote-runtime-identity:{nonce}".encode(), hashlib.sha256).hexdigest()
    return http(200, "OK", json.dumps({"hmac": proof, "bridge": "0.1.0"}).encode())


def http(status: int, reason: str, body: bytes, length: object = None, more: str = "") -> bytes:
    length = len(body) if length is None else length
    return f"HTTP/1.1 {status} {reason}\r\nContent-Length: {length}\r\n{more}\r\n".encode() + body


def refused(peer: Peer, within_s: float = LIMIT_S) -> RemoteRuntimeError:
    """The error of a proof that fails, in time."""
    began = time.monotonic()
    with closing(peer), pytest.raises(RemoteRuntimeError) as caught:
        verify_identity(peer, TOKEN, Deadline(within_s))
    assert time.monotonic() - began < within_s + 5.0
    assert TOKEN.reveal().encode() not in peer.heard
    return caught.value


@many
@given(st.lists(st.integers(1, 40), max_size=200))
def test_an_honest_answer_is_accepted_however_it_is_chopped(sizes: list[int]) -> None:
    with closing(Peer(honest, sizes=sizes)) as peer:
        verify_identity(peer, TOKEN, Deadline(10.0))
    assert TOKEN.reveal().encode() not in peer.heard


words = st.sampled_from(["hmac", "bridge", "code", ""])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=80),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=8,
)
bodies = st.binary(max_size=300) | values.map(lambda value: json.dumps({"hmac": value}).encode())
bodies = bodies | values.map(lambda value: json.dumps(value).encode())
lengths = st.none() | st.sampled_from([0, 1, -1, "+1", "1, 1", "x", "", "١", 10**9, "9" * 5000])
reasons = st.sampled_from([*CODES, "OK", "", "\r", "x" * 300]) | st.text(st.characters(codec="utf-8"), max_size=20)
headers = st.sampled_from(
    ["", "Content-Length: 5\r\n", "content-length:5\r\n", "X: y\r\n", "\r", "X" * 20_000 + ": y\r\n"]
)
answers = st.builds(http, st.sampled_from([200, 502, 502, 404, 301, 100, 1000]), reasons, bodies, lengths, headers)


@many
@given(answers | st.binary(max_size=400), st.lists(st.integers(1, 500), max_size=20), st.booleans())
@example(http(200, "OK", b"", "9" * 5000), [], False)
@example(http(200, "OK", b'{"hmac": "\\ud800"}'), [], False)
@example(http(200, "OK", b"[" * 16000), [], False)
@example(http(200, "OK", b'{"hmac": ' + b"[" * 16000), [], False)
@example(b"HTTP/1.1 " + b"\xb2" * 3 + b" \r\nContent-Length: 0\r\n\r\n", [], False)
@example(b"HTTP/1.1 200", [1] * 12, True)
@example(b"\0" * 100_000, [], False)
@example(b"HTTP/1.1 200 " + b"x" * 100_000, [], False)
def test_a_hostile_answer_is_refused_in_time_with_an_error_of_ours(answer: bytes, sizes: list[int], ends: bool) -> None:
    error = refused(Peer(lambda nonce: answer, sizes=sizes, ends=ends))
    assert not isinstance(error, Interrupted)
    shown = error.what + error.why + error.hint
    assert len(shown) < 4000
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", shown)


@many
@given(st.data())
def test_an_honest_answer_with_any_byte_changed_is_refused_or_means_the_same(data: st.DataObject) -> None:
    proofs = []

    def changed(nonce: str) -> bytes:
        whole = bytearray(honest(nonce))
        start = whole.index(b'"hmac": "') + 9
        at = data.draw(st.integers(start, start + 63))
        whole[at] = data.draw(st.integers(0, 255).filter(lambda byte: byte != whole[at]))
        proofs.append(bytes(whole))
        return bytes(whole)

    assert refused(Peer(changed)).code in ("stranger-answered", "not-answering")
    assert proofs


def test_a_proof_of_another_token_or_for_another_nonce_is_refused() -> None:
    assert refused(Peer(lambda nonce: honest(nonce, Secret("cd" * 24)))).code == "stranger-answered"
    with closing(Peer(honest)) as earlier:
        verify_identity(earlier, TOKEN, Deadline(5.0))
    asked = re.search(rb"nonce=([0-9a-f]+)", earlier.heard)
    assert asked is not None
    assert refused(Peer(lambda nonce: honest(asked.group(1).decode()))).code == "stranger-answered"


def test_a_proof_with_more_behind_it_is_refused() -> None:
    assert refused(Peer(lambda nonce: honest(nonce) + b"HTTP/1.1 200 OK\r\n")).code == "stranger-answered"


def test_a_proof_with_another_status_is_refused() -> None:
    for status in (b"201", b"302", b"502"):
        assert refused(Peer(lambda nonce, status=status: honest(nonce).replace(b"200", status, 1))).code == (  # type: ignore[misc]  # the default binds the loop's value
            "stranger-answered"
        )


@pytest.mark.parametrize("code", ["ssh-unreachable", "not-answering", "stranger-answered", "deadline-passed"])
def test_what_our_own_local_end_says_is_passed_on(code: str) -> None:
    error = refused(Peer(lambda nonce: http(502, code, "\n".join(["it failed", "because", "do this"]).encode())))
    assert error.as_dict() == {"code": code, "what": "it failed", "why": "because", "hint": "do this"}


@pytest.mark.parametrize("code", ["interrupted", "usage", "profile-invalid", "instance-stopped", "busy"])
def test_a_stranger_cannot_borrow_a_code_that_our_local_end_never_says(code: str) -> None:
    assert refused(Peer(lambda nonce: http(502, code, b"what"))).code == "stranger-answered"


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"])
def test_silence_is_not_answering(answer: bytes) -> None:
    assert refused(Peer(lambda nonce: answer)).code == "not-answering"
    assert refused(Peer(lambda nonce: answer, ends=True), within_s=60.0).code == "not-answering"


def test_a_connection_that_takes_nothing_is_given_up_in_time() -> None:
    class Full(Peer):
        def send(self, data: bytes) -> int:
            raise BlockingIOError

    assert refused(Full(honest)).code == "not-answering"


def test_a_connection_that_breaks_is_not_answering() -> None:
    class Broken(Peer):
        def send(self, data: bytes) -> int:
            raise ConnectionResetError("reset by peer")

    error = refused(Broken(honest))
    assert isinstance(error, HealthError)
    assert (error.code, error.why) == ("not-answering", "reset by peer")


def test_waiting_for_an_answer_can_be_called_off() -> None:
    called_off = threading.Event()
    caller = threading.Timer(0.05, called_off.set)
    caller.start()
    with closing(Peer(lambda nonce: b"")) as peer, pytest.raises(Interrupted):
        verify_identity(peer, TOKEN, Deadline(60.0, called_off))
    caller.join()
