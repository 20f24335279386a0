"""The client of Identity-Aware Proxy against a relay that does everything wrong that a relay can do."""

from __future__ import annotations

import hashlib
import os
import random
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from remote_runtime.compute.iap.keepalive import RelayTimeouts
from remote_runtime.compute.iap.tunnel import IapTunnel, open_tunnel
from remote_runtime.core.deadline import Deadline
from remote_runtime.core.errors import CloudError, RemoteRuntimeError, SshError
from tests.support.environment.waiting import eventually
from tests.support.faults.faulty_relay import BREAKS, FaultKind, RelayFault
from tests.support.servers.iap import ELSEWHERE, INSTANCE, Field, Proxy, authority, relayed

QUICK = RelayTimeouts(silent_s=0.4, attempt_s=5.0)


@pytest.fixture
def field() -> Iterator[Field]:
    with relayed() as here:
        yield here


@contextmanager
def passage(field: Field, *, within_s: float = 10.0, limits: RelayTimeouts = QUICK) -> Iterator[IapTunnel]:
    opened = open_tunnel(INSTANCE, environ=field.environ, deadline=Deadline(within_s), timeouts=limits)
    opened.socket.settimeout(20)
    try:
        yield opened
    finally:
        opened.close()


def refused(field: Field, **changes: str) -> RemoteRuntimeError:
    with pytest.raises(RemoteRuntimeError) as raised, passage(replace(field, environ={**field.environ, **changes})):
        pass
    return raised.value


def receive(sock: socket.socket, size: int) -> bytes:
    content = bytearray()
    while len(content) < size:
        part = sock.recv(1 << 18)
        if not part:
            break
        content += part
    return bytes(content)


def receive_all(sock: socket.socket) -> bytes:
    """Until the other side ends, in whatever way."""
    try:
        return receive(sock, 1 << 30)
    except ConnectionError:
        return b""


def echo(opened: IapTunnel, content: bytes) -> str:
    """The digest of what comes back while it is sent."""
    sender = threading.Thread(target=opened.socket.sendall, args=(content,))
    sender.start()
    back = receive(opened.socket, len(content))
    sender.join()
    return hashlib.sha256(back).hexdigest()


def test_it_asks_as_gcloud_does_and_carries_bytes_both_ways(field: Field, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("a-token")
    field.environ.pop("CLOUDSDK_AUTH_DISABLE_CREDENTIALS")
    field.environ["CLOUDSDK_AUTH_ACCESS_TOKEN_FILE"] = str(token)

    with passage(field) as opened:
        opened.socket.sendall(b"hello")
        assert receive(opened.socket, 5) == b"hello"

    (asked,) = field.relay.requests
    assert asked.verb == "connect"
    assert asked.query == {
        "project": "my-project",
        "zone": "europe-west4-a",
        "instance": "my-vm",
        "interface": "nic0",
        "port": "22",
        "newWebsocket": "True",
    }
    assert asked.token == "a-token"
    assert asked.user_agent.startswith("remote-runtime/")


@pytest.mark.parametrize("kind", BREAKS)
def test_no_byte_is_lost_over_tls_however_the_connection_breaks(
    kind: FaultKind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls, authorities = authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authorities))
    content = os.urandom(2 << 20)
    with relayed(tls=tls) as field:
        field.relay.faults.append(RelayFault(kind, 1_500_000))
        with passage(field) as opened:
            assert echo(opened, content) == hashlib.sha256(content).hexdigest()
            assert opened.resumed == 1
        _, reconnect = field.relay.requests
        assert reconnect.query.keys() == {"sid", "ack", "zone", "newWebsocket"}


def test_no_byte_is_lost_over_twenty_megabytes_with_twenty_faults(field: Field) -> None:
    chance = random.Random(7)  # noqa: S311  # where faults happen is no secret
    field.relay.faults.extend(RelayFault(BREAKS[n % 5], chance.randrange(500_000, 1_500_000)) for n in range(20))
    content = os.urandom(20 << 20)

    with passage(field) as opened:
        assert echo(opened, content) == hashlib.sha256(content).hexdigest()
        assert opened.resumed == 20


def test_an_idle_connection_that_went_silent_is_noticed_and_resumed(field: Field) -> None:
    field.relay.faults.append(RelayFault("silence", 5))
    with passage(field, limits=replace(QUICK, idle_s=0.3)) as opened:
        opened.socket.sendall(b"12345")
        eventually(lambda: opened.resumed == 1)
        assert receive(opened.socket, 5) == b"12345"


def test_a_relay_that_answered_before_a_break_has_to_answer_after_it(field: Field) -> None:
    field.relay.faults += [RelayFault("rst", 10), RelayFault("silence", 0)]
    with passage(field, limits=replace(QUICK, idle_s=0.3)) as opened:
        opened.socket.sendall(b"12345")
        assert receive(opened.socket, 5) == b"12345"
        eventually(lambda: opened.resumed == 2, what="nothing is under way that it owed an answer to")


@pytest.mark.parametrize(
    ("close_code", "code", "in_what", "in_hint"),
    [
        (4003, "iap-backend-unreachable", "port 22 of my-vm", "--allow=tcp:22 --source-ranges=35.235.240.0/20"),
        (4047, "iap-backend-unreachable", "can't find my-vm", "gcloud compute instances describe my-vm"),
        (4033, "iap-refused", "iap.tunnelInstances.accessViaIAP", "--role=roles/iap.tunnelResourceAccessor"),
        (4054, "iap-refused", "organization policy", "target.connect"),
        (4999, "iap-unreachable", "did not connect", ""),
    ],
)
def test_a_refusal_says_why_and_what_to_do(
    field: Field, close_code: int, code: str, in_what: str, in_hint: str
) -> None:
    field.relay.refusals.append(close_code)
    error = refused(field)
    assert error.code == code
    assert in_what in error.what
    assert str(close_code) in error.why
    assert in_hint in error.hint
    assert len(field.relay.requests) == 1, "it is the caller who tries again"


def test_a_port_that_nobody_listens_on_is_told_from_a_refusal(field: Field) -> None:
    field.machine.close()
    assert refused(field).code == "iap-backend-unreachable"


def test_http_refusals_are_understood(field: Field) -> None:
    field.relay.statuses.extend([403, 503])
    assert refused(field).code == "iap-refused"
    assert refused(field).code == "iap-unreachable"


def test_a_refused_token_is_renewed_once(field: Field, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("an-old-token")
    field.environ.pop("CLOUDSDK_AUTH_DISABLE_CREDENTIALS")
    field.environ["CLOUDSDK_AUTH_ACCESS_TOKEN_FILE"] = str(token)
    field.relay.tokens.add("a-new-token")

    error = refused(field)

    assert error.code == "iap-refused"
    assert "gcloud auth application-default login" in error.hint
    assert [asked.token for asked in field.relay.requests] == ["an-old-token"] * 2


def test_each_connection_has_the_token_of_that_moment(field: Field, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("first")
    field.environ.pop("CLOUDSDK_AUTH_DISABLE_CREDENTIALS")
    field.environ["CLOUDSDK_AUTH_ACCESS_TOKEN_FILE"] = str(token)
    field.relay.faults.append(RelayFault("close", 4, code=4004))

    with passage(field) as opened:
        token.write_text("second")
        opened.socket.sendall(b"1234")
        assert receive(opened.socket, 4) == b"1234"
        eventually(lambda: opened.resumed == 1)

    assert [asked.token for asked in field.relay.requests] == ["first", "second"]


def test_without_credentials_the_error_says_how_to_get_some(field: Field, tmp_path: Path) -> None:
    field.environ.pop("CLOUDSDK_AUTH_DISABLE_CREDENTIALS")
    error = refused(field, CLOUDSDK_AUTH_ACCESS_TOKEN_FILE=str(tmp_path / "none"))
    assert isinstance(error, CloudError)
    assert error.code == "no-credentials"


@pytest.mark.parametrize("code", [1000, 4009, 4010])
@pytest.mark.parametrize("kind", ["close", "long-close"])
def test_the_machines_end_is_the_end(field: Field, kind: FaultKind, code: int) -> None:
    field.relay.faults.append(RelayFault(kind, 8, code=code))
    with passage(field) as opened:
        opened.socket.sendall(b"1234")
        assert receive(opened.socket, 9) == b"1234"
        assert str(code) in opened.close_reason()
    assert len(field.relay.requests) == 1


def test_what_the_machine_said_last_is_delivered() -> None:
    said = os.urandom(3 << 20)
    with relayed(says=said) as field, passage(field) as opened:
        assert receive(opened.socket, len(said) + 1) == said


@pytest.mark.parametrize("code", [1001, 1011, 4004, 4051, 4999])
def test_a_passing_close_is_resumed(field: Field, code: int) -> None:
    field.relay.faults.append(RelayFault("close", 4, code=code))
    with passage(field) as opened:
        opened.socket.sendall(b"1234")
        assert receive(opened.socket, 4) == b"1234"
        eventually(lambda: opened.resumed == 1)
        opened.socket.sendall(b"5678")
        assert receive(opened.socket, 4) == b"5678"


@pytest.mark.parametrize("code", [4001, 4002, 4074, 4033, 4054, 4003, 4047])
def test_a_session_that_cannot_be_resumed_ends_with_the_reason(field: Field, code: int) -> None:
    field.relay.faults.append(RelayFault("rst", 4))
    with passage(field) as opened:
        field.relay.refusals.append(code)
        opened.socket.sendall(b"1234")
        receive_all(opened.socket)
        assert str(code) in opened.close_reason()
    assert len(field.relay.requests) == 2


def test_a_relay_that_forgot_the_session_ends_it(field: Field) -> None:
    with passage(field) as opened:
        opened.socket.sendall(b"1234")
        assert receive(opened.socket, 4) == b"1234"
        field.relay.drop_sessions()
        assert receive(opened.socket, 1) == b""
        assert "ended the connection" in opened.close_reason()


@pytest.mark.parametrize("kind", ["low-ack", "high-ack", "second-success", "oversized"])
def test_a_relay_that_breaks_its_protocol_is_left(field: Field, kind: FaultKind) -> None:
    field.relay.faults.append(RelayFault(kind, 8))
    with passage(field) as opened:
        opened.socket.sendall(b"1234")
        eventually(lambda: field.relay.transferred_bytes >= 8)
        assert receive(opened.socket, 9) == b"1234"
        assert "broke its protocol" in opened.close_reason()
    assert len(field.relay.requests) == 1


def test_data_before_the_success_is_no_relays(field: Field) -> None:
    field.relay.faults.append(RelayFault("early-data"))
    error = refused(field)
    assert error.code == "iap-unreachable"
    assert "first message is Data" in error.why


def test_bytes_that_are_no_websockets_are_a_broken_connection(field: Field) -> None:
    field.relay.faults.append(RelayFault("garbage", 8))
    with passage(field) as opened:
        opened.socket.sendall(b"1234")
        assert receive(opened.socket, 4) == b"1234"
        eventually(lambda: opened.resumed == 1)


def test_slow_acknowledgements_cost_no_byte(field: Field) -> None:
    field.relay.ack_interval_bytes = 4 << 20
    field.relay.faults.append(RelayFault("rst", 9 << 20))
    content = os.urandom(8 << 20)
    with passage(field) as opened:
        assert echo(opened, content) == hashlib.sha256(content).hexdigest()


def test_a_machine_that_reads_nothing_stops_the_sender() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        relayed(address=listener.getsockname()) as field,
        passage(field) as opened,
    ):
        opened.socket.settimeout(0.5)
        with pytest.raises(TimeoutError):
            opened.socket.sendall(bytes(32 << 20))


def test_closing_here_ends_the_connection_there(field: Field) -> None:
    with passage(field) as opened:
        opened.socket.sendall(b"last words")
    eventually(lambda: field.relay.session_count == 0)
    eventually(lambda: all(thread.name != "iap" for thread in threading.enumerate()))


def test_a_resume_that_gets_nowhere_ends(field: Field) -> None:
    field.relay.faults.append(RelayFault("rst", 4))
    with passage(field, limits=replace(QUICK, resume_s=0.5)) as opened:
        field.relay.statuses.extend([503] * 50)
        opened.socket.sendall(b"1234")
        receive_all(opened.socket)
        assert "Identity-Aware Proxy was lost" in opened.close_reason()


def test_nobody_waits_for_a_relay_longer_than_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"ws://127.0.0.1:{silent.getsockname()[1]}/v4"
        environ = {"REMOTE_RUNTIME_IAP_URL": url, "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true"}
        start = time.monotonic()
        with pytest.raises(SshError) as raised:
            open_tunnel(INSTANCE, environ=environ, deadline=Deadline(0.5))
    assert raised.value.code == "iap-unreachable"
    assert time.monotonic() - start < 5


def test_a_relay_with_an_unknown_certificate_gets_no_token(tmp_path: Path) -> None:
    tls, _ = authority(tmp_path)
    with relayed(tls=tls) as field:
        error = refused(field)
        assert error.code == "iap-unreachable"
        assert "certificate" in error.why
        assert field.relay.requests == []


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost/v4",
        "ws://relay.example/v4",
        "wss:///v4",
        "wss://relay.example:port/v4",
        "wss://[::1/v4",
        "nonsense",
    ],
)
def test_only_tls_or_this_computer_is_a_relay(field: Field, url: str) -> None:
    error = refused(field, REMOTE_RUNTIME_IAP_URL=url)
    assert error.code == "iap-unreachable"
    assert "REMOTE_RUNTIME_IAP_URL" in error.hint


def test_the_environments_proxy_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tls, authorities = authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authorities))
    proxy = Proxy()
    try:
        with relayed(tls=tls) as field:
            field.environ["REMOTE_RUNTIME_IAP_URL"] = field.relay.url.replace("localhost", ELSEWHERE)
            field.environ["HTTPS_PROXY"] = f"http://user:pass%20word@{proxy.at}"
            with passage(field) as opened:
                opened.socket.sendall(b"hello")
                assert receive(opened.socket, 5) == b"hello"
            (head,) = proxy.asked
            assert head.startswith(f"CONNECT {ELSEWHERE}:{field.relay.port} HTTP/1.1\r\n")
            assert "Proxy-Authorization: Basic dXNlcjpwYXNzIHdvcmQ=\r\n" in head

            field.environ["NO_PROXY"] = f"other.test,{ELSEWHERE}"
            assert refused(field).code == "iap-unreachable", "the name is only known to the proxy"
            assert len(proxy.asked) == 1
    finally:
        proxy.close()


def test_a_proxy_that_refuses_is_named(field: Field) -> None:
    proxy = Proxy("407 Proxy Authentication Required")
    try:
        url = f"wss://{ELSEWHERE}/v4"
        error = refused(field, REMOTE_RUNTIME_IAP_URL=url, https_proxy=f"http://{proxy.at}")
        assert error.code == "iap-unreachable"
        assert "proxy 127.0.0.1 refused" in error.why
        assert "407" in error.why
        error = refused(field, REMOTE_RUNTIME_IAP_URL=url, https_proxy="socks5://127.0.0.1:1")
        assert "socks5" in error.why
    finally:
        proxy.close()


@pytest.mark.parametrize("proxy", ["http://me:secret@proxy.test:port", "http://me:secret@[::1:3128"])
def test_a_proxy_that_is_no_address_is_said_without_its_password(field: Field, proxy: str) -> None:
    error = refused(field, REMOTE_RUNTIME_IAP_URL=f"wss://{ELSEWHERE}/v4", https_proxy=proxy)
    assert error.code == "iap-unreachable"
    assert "HTTPS_PROXY" in error.why
    assert "secret" not in str(error.as_dict())
