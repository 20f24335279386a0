"""The relay of our tests, judged by Google's client where that is installed: what it accepts, ours may rely on."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from tests.support.clients import gcloud
from tests.support.environment.waiting import eventually
from tests.support.faults.faulty_relay import RelayFault
from tests.support.servers.iap import authority, relayed

PIECE_BYTES = 16 << 10


@pytest.mark.skipif(not gcloud.is_there(), reason="gcloud only judges: test_iap_relay tests the same without it")
def test_gcloud_connects_carries_bytes_and_resumes_through_the_relay(tmp_path: Path) -> None:
    tls, _ = authority(tmp_path)
    with relayed(tls=tls) as field:
        with gcloud.iap_tunnel(field.relay.url, tmp_path) as port:
            with gcloud.connect(port) as sock:
                for _ in range(64):
                    piece = os.urandom(PIECE_BYTES)  # in turn: gcloud locks itself up when both directions are full
                    sock.sendall(piece)
                    assert receive(sock, len(piece)) == piece
            # One direction only: an acknowledgement that cannot be sent makes gcloud spin for ever.
            field.machine.echoes = False
            field.relay.faults.append(RelayFault("rst", 3 << 20))
            content = os.urandom(6 << 20)
            with gcloud.connect(port) as sock:
                sock.sendall(content)
                eventually(lambda: len(field.machine.heard) == len(content))
            assert field.machine.heard == content

        connect, _, reconnect = field.relay.requests
        assert connect.query == {
            "project": "my-project",
            "zone": "europe-west4-a",
            "instance": "my-vm",
            "interface": "nic0",
            "port": "22",
            "newWebsocket": "True",
        }
        assert reconnect.query.keys() == {"sid", "ack", "zone", "newWebsocket"}
        assert {connect.token, reconnect.token} == {gcloud.TOKEN}


def receive(sock: socket.socket, size: int) -> bytes:
    content = b""
    while len(content) < size and (part := sock.recv(1 << 18)):
        content += part
    return content
