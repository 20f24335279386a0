"""The relay's messages, and the counts of a session."""

from __future__ import annotations

import os
import random
import socket

import pytest
from websockets.client import ClientProtocol
from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from remote_runtime.compute.iap.acknowledgements import MAX_UNACKNOWLEDGED_BYTES, AckTracker
from remote_runtime.compute.iap.close_codes import Close
from remote_runtime.compute.iap.messages import (
    MAX_ARRAY_BYTES,
    Ack,
    CloseMessage,
    Connected,
    Data,
    Malformed,
    Resumed,
    encode_ack,
    encode_data,
    parse,
)
from remote_runtime.compute.iap.websocket import ClosedByRelay, WebSocketConnection


def test_messages_are_what_gcloud_sends_and_reads() -> None:
    assert encode_data(b"abc") == bytes.fromhex("0004 00000003 616263")
    assert encode_ack(258) == bytes.fromhex("0007 0000000000000102")
    assert parse(bytes.fromhex("0001 00000003 736964")) == Connected("sid")
    assert parse(bytes.fromhex("0002 0000000000000102")) == Resumed(258)
    assert parse(bytes.fromhex("0004 00000003 616263")) == Data(memoryview(b"abc"))
    assert parse(bytes.fromhex("0007 0000000000000102")) == Ack(258)
    assert parse(bytes.fromhex("000a 00000fa3 00000002 6e6f")) == CloseMessage(4003, "no")


def test_unknown_tags_and_bytes_after_the_message_are_ignored() -> None:
    assert parse(bytes.fromhex("0063 ffffffff")) is None
    assert parse(bytes.fromhex("0004 00000001 6162")) == Data(memoryview(b"a"))


@pytest.mark.parametrize(
    "message",
    ["", "00", "0004", "0004 00000002 61", "0007 00000000000001", "0001 00000001 ff", "000a 00000fa3"],
)
def test_half_a_message_is_malformed(message: str) -> None:
    with pytest.raises(Malformed):
        parse(bytes.fromhex(message))


def test_an_array_above_the_limit_is_malformed() -> None:
    assert parse(encode_data(bytes(MAX_ARRAY_BYTES))) == Data(memoryview(bytes(MAX_ARRAY_BYTES)))
    with pytest.raises(Malformed, match="16385"):
        parse(encode_data(bytes(MAX_ARRAY_BYTES + 1)))


def test_what_is_not_confirmed_is_sent_again_whatever_was_lost() -> None:
    chance = random.Random(4)  # noqa: S311  # what is lost is no secret
    content = os.urandom(300_000)
    ledger, heard, taken = AckTracker(), b"", 0
    while len(heard) < len(content):
        piece = content[taken : taken + chance.randrange(1, 50_000)]
        taken += len(piece)
        if piece:
            ledger.enqueue(piece)
        for _ in range(chance.randrange(6)):
            if chunk := ledger.next_chunk():
                assert len(chunk) <= MAX_ARRAY_BYTES
                heard += chunk
        if chance.random() < 0.5:
            ledger.on_ack(len(heard))
        else:  # the connection breaks, and the end of what was sent never arrived
            kept = len(content) - ledger.unacknowledged - (len(content) - taken)
            heard = heard[: chance.randint(kept, len(heard))]
            ledger.on_resume(len(heard))
    assert heard == content
    ledger.on_ack(len(heard))
    assert ledger.unacknowledged == 0


def test_counts_that_cannot_be_are_refused() -> None:
    ledger = AckTracker()
    ledger.enqueue(bytes(100))
    with pytest.raises(Malformed, match="0 were sent"):
        ledger.on_ack(1)
    ledger.next_chunk()
    ledger.on_ack(60)
    with pytest.raises(Malformed, match="60 bytes, and now only 59"):
        ledger.on_ack(59)
    with pytest.raises(Malformed, match="101"):
        ledger.on_resume(101)


def test_it_takes_no_more_than_its_limit_and_acknowledges_in_time() -> None:
    ledger = AckTracker()
    ledger.enqueue(bytes(MAX_UNACKNOWLEDGED_BYTES))
    assert not ledger.has_room
    ledger.received = 32 << 10
    assert not ledger.ack_due(idle=False)
    assert ledger.ack_due(idle=True)
    ledger.received += 1
    assert ledger.ack_due(idle=False)
    assert ledger.ack() == ledger.received
    assert not ledger.ack_due(idle=True)


@pytest.mark.parametrize(
    ("meaning", "codes"),
    [
        ("finished", [1000, 4009, 4010]),
        ("refused", [4033, 4054, 403, 404, 407]),
        ("session_lost", [4001, 4002, 4074]),
        ("retry_later", [4003, 4047]),
        ("renew_token", [4004, 401]),
        ("resumable", [1001, 1006, 1011, 4051, 4999, 429, 500, 503]),
    ],
)
def test_every_close_code_has_one_meaning(meaning: str, codes: list[int]) -> None:
    assert {Close(code).meaning for code in codes} == {meaning}


def test_what_came_before_the_end_is_read_whatever_is_said_meanwhile() -> None:
    client, server = ClientProtocol(parse_uri("ws://relay.test/v4")), ServerProtocol()
    client.send_request(client.connect())
    server.receive_data(b"".join(client.data_to_send()))
    (request,) = server.events_received()
    assert isinstance(request, Request)
    server.send_response(server.accept(request))
    client.receive_data(b"".join(server.data_to_send()))
    near, far = socket.socketpair()
    with near, far:
        wire = WebSocketConnection(near, client)
        server.send_binary(b"one")
        server.send_binary(b"two")
        server.send_close(4009)
        far.sendall(b"".join(server.data_to_send()))
        assert wire.next_message() == b"one"
        wire.send(b"an acknowledgement")
        wire.ping()
        assert wire.next_message() == b"two"
        with pytest.raises(ClosedByRelay) as end:
            wire.next_message()
        assert end.value.close.code == 4009
