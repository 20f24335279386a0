"""The certificates of a cluster are accepted by their own CA alone, by the strictest rules of Python's ``ssl``."""

from __future__ import annotations

import ssl
import threading
from contextlib import ExitStack
from pathlib import Path
from socket import socketpair

import pytest

from remote_runtime.cluster.certificates import make_credentials
from remote_runtime.core.cluster import Credentials


def context(folder: Path, credentials: Credentials, purpose: ssl.Purpose) -> ssl.SSLContext:
    folder.mkdir(exist_ok=True)
    (folder / "ca").write_text(credentials.ca)
    (folder / "cert").write_text(credentials.certificate)
    (folder / "key").write_text(credentials.key.reveal())
    made = ssl.create_default_context(purpose, cafile=folder / "ca")
    made.check_hostname = False
    made.verify_mode = ssl.CERT_REQUIRED
    made.verify_flags |= ssl.VERIFY_X509_STRICT
    made.load_cert_chain(folder / "cert", folder / "key")
    return made


def shake_hands(server: ssl.SSLContext, client: ssl.SSLContext) -> bytes:
    """What the client receives from the server."""
    here, there = socketpair()
    with ExitStack() as stack:
        for end in (here, there):
            stack.callback(end.close)
            end.settimeout(10)

        def serve() -> None:
            try:
                with server.wrap_socket(there, server_side=True) as stream:
                    stream.sendall(b"hello")
            except OSError:
                there.close()

        thread = threading.Thread(target=serve)
        thread.start()
        stack.callback(thread.join)
        with client.wrap_socket(here) as stream:
            return stream.recv(5)


def test_two_members_of_a_cluster_accept_each_other(tmp_path: Path) -> None:
    made = make_credentials()
    server = context(tmp_path / "a", made, ssl.Purpose.CLIENT_AUTH)
    assert shake_hands(server, context(tmp_path / "b", made, ssl.Purpose.SERVER_AUTH)) == b"hello"


def test_a_member_of_another_cluster_is_refused(tmp_path: Path) -> None:
    server = context(tmp_path / "a", make_credentials(), ssl.Purpose.CLIENT_AUTH)
    stranger = context(tmp_path / "b", make_credentials(), ssl.Purpose.SERVER_AUTH)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(server, stranger)
    stranger.verify_mode = ssl.CERT_NONE
    assert received_from(server, stranger) == b""


def received_from(server: ssl.SSLContext, client: ssl.SSLContext) -> bytes:
    """Nothing if the server refuses: with TLS 1.3 the client sees that when it reads."""
    try:
        return shake_hands(server, client)
    except OSError:
        return b""


def test_the_key_is_not_shown() -> None:
    made = make_credentials()
    assert "PRIVATE" not in repr(made)
    assert "PRIVATE" in made.key.reveal()
