"""The engine's packet layer: sealed by one end, opened by the other, and what is refused."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from remote_runtime.ssh.forwarder import messages as wire
from remote_runtime.ssh.forwarder.aes_gcm import MAX_PACKET_BYTES, BadPacket, Decryptor, Encryptor, nonces, padding_for
from remote_runtime.ssh.forwarder.packet_reader import PacketReader
from remote_runtime.ssh.forwarder.packet_writer import MAX_DATA_BYTES, READ_BUFFERS, Overflow, PacketWriter, ReadBuffers
from remote_runtime.ssh.forwarder.write_buffer import WriteBuffer

KEY, FIRST = bytes(range(16)), bytes(range(12))


class Copying:
    """AESGCM of a cryptography that cannot write into a buffer."""

    def __init__(self, key: bytes) -> None:
        cipher = AESGCM(key)
        self.encrypt, self.decrypt = cipher.encrypt, cipher.decrypt


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.setblocking(False)
        yield ours, theirs


def inbox() -> PacketReader:
    return PacketReader(Decryptor(AESGCM(KEY), FIRST))


def outbox() -> PacketWriter:
    return PacketWriter(Encryptor(AESGCM(KEY), FIRST))


def carried(box: PacketWriter, into: PacketReader, ends: tuple[socket.socket, socket.socket]) -> Iterator[bytes]:
    while box.queued_bytes or box.flush(ends[0]):
        box.flush(ends[0])
        into.read_from(ends[1])
        while (payload := into.next_payload()) is not None:
            yield bytes(payload)
            if into.is_full():
                into.release()
        into.release()


def test_a_packet_is_what_rfc_5647_says() -> None:
    """Computed with OpenSSL's command line: the length in clear, authenticated; the nonce's counter steps by one."""
    box = bytearray(64)
    plain = b"\x0a" + b"hello" + bytes(10)
    length = Encryptor(AESGCM(KEY), FIRST).encrypt(plain, 16, memoryview(box), 0)
    assert bytes(box[:4]) == struct.pack(">I", 16)
    assert AESGCM(KEY).decrypt(FIRST, bytes(box[4:length]), b"\0\0\0\x10") == plain
    two = nonces(FIRST[:4] + b"\xff" * 8)
    assert [next(two), next(two)] == [FIRST[:4] + b"\xff" * 8, FIRST[:4] + bytes(8)]


@given(st.integers(0, 1 << 18))
def test_padding_fills_whole_blocks_and_has_at_least_four_bytes(size: int) -> None:
    padding = padding_for(size)
    assert 4 <= padding < 20
    assert (1 + size + padding) % 16 == 0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=40_000), max_size=30))
def test_what_is_sealed_comes_out_in_order_whatever_its_size(payloads: list[bytes]) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.setblocking(False)
        sending = outbox()
        sending.write(payloads)
        assert list(carried(sending, inbox(), (ours, theirs))) == payloads


def test_data_goes_out_in_pieces_of_what_the_peer_takes(ends: tuple[socket.socket, socket.socket]) -> None:
    source, target = socket.socketpair()
    with source, target:
        source.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        said = bytes(range(256)) * 400
        source.sendall(said)
        slots, sending = ReadBuffers(), outbox()
        count = slots.read(target, 1 << 20, READ_BUFFERS, MAX_DATA_BYTES)
        assert count > MAX_DATA_BYTES
        sending.write_data(7, slots.buffer, count)
    messages = list(carried(sending, inbox(), ends))
    heard = b"".join(bytes(wire.content(memoryview(message))) for message in messages)
    assert heard == said[:count]
    assert all(wire.uint32(memoryview(message), 1) == 7 for message in messages)
    assert max(map(len, messages)) == MAX_DATA_BYTES + 9


def test_a_cryptography_without_buffers_gives_the_same_bytes(ends: tuple[socket.socket, socket.socket]) -> None:
    sending, receiving = PacketWriter(Encryptor(Copying(KEY), FIRST)), PacketReader(Decryptor(Copying(KEY), FIRST))
    sending.write([b"one"])
    sending.write([b"two" * 1000])
    assert list(carried(sending, receiving, ends)) == [b"one", b"two" * 1000]


def test_new_keys_hold_from_the_next_packet_on(ends: tuple[socket.socket, socket.socket]) -> None:
    sending, receiving = outbox(), inbox()
    sending.write([b"before"])
    sending.rekey(Encryptor(AESGCM(bytes(32)), bytes(12)))
    sending.write([b"after"])
    sending.flush(ends[0])
    receiving.read_from(ends[1])
    before = receiving.next_payload()
    assert before is not None
    assert bytes(before) == b"before"
    receiving.rekey(Decryptor(AESGCM(bytes(32)), bytes(12)))
    after = receiving.next_payload()
    assert after is not None
    assert bytes(after) == b"after"


@given(st.integers(0, 200), st.integers(0, 7))
@settings(deadline=None)
def test_a_packet_with_any_bit_changed_is_refused(at: int, bit: int) -> None:
    box = memoryview(bytearray(300))
    length = Encryptor(AESGCM(KEY), FIRST).encrypt(bytes((14,)) + bytes(177) + bytes(14), 192, box, 0)
    changed = bytearray(box[:length])
    changed[at % length] ^= 1 << bit
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(changed + bytes(1000))
        theirs.setblocking(False)
        receiving = inbox()
        receiving.read_from(theirs)
        try:
            assert receiving.next_payload() is None, "a length that was changed may wait for more"
        except BadPacket:
            return


@pytest.mark.parametrize("size", [0, 1, 15, 17, MAX_PACKET_BYTES + 16, 0xFFFFFFF0])
def test_a_length_that_no_packet_has_is_refused_before_anything_is_kept(
    ends: tuple[socket.socket, socket.socket], size: int
) -> None:
    ends[0].sendall(struct.pack(">I", size))
    receiving = inbox()
    receiving.read_from(ends[1])
    with pytest.raises(BadPacket):
        receiving.next_payload()


@pytest.mark.parametrize("padding", [0, 3, 15, 16, 255])
def test_padding_that_cannot_be_is_refused(ends: tuple[socket.socket, socket.socket], padding: int) -> None:
    box = memoryview(bytearray(64))
    length = Encryptor(AESGCM(KEY), FIRST).encrypt(bytes((padding,)) + bytes(15), 16, box, 0)
    ends[0].sendall(box[:length])
    receiving = inbox()
    receiving.read_from(ends[1])
    with pytest.raises(BadPacket):
        receiving.next_payload()


def test_the_end_of_the_connection_is_told(ends: tuple[socket.socket, socket.socket]) -> None:
    ends[0].shutdown(socket.SHUT_WR)
    with pytest.raises(EOFError):
        inbox().read_from(ends[1])


def test_what_a_peer_does_not_take_is_bounded() -> None:
    sending = outbox()
    for _ in range(16):
        sending.write([bytes(1_000_000)])
    with pytest.raises(Overflow):
        sending.write([bytes(1_000_000)])
    assert sending.queued_bytes <= 16 << 20


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.binary(min_size=1, max_size=60_000), min_size=1, max_size=4), max_size=12))
def test_what_a_slow_reader_gets_is_what_came(turns: list[list[bytes]]) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        ours.setblocking(False)
        inward, heard, taken = WriteBuffer(), b"", 0
        for pieces in turns:
            for piece in pieces:
                inward.append(memoryview(piece))
            taken += inward.send_to(ours)
            heard += theirs.recv(10_000)
        while inward.pending_bytes:
            taken += inward.send_to(ours)
            heard += theirs.recv(1 << 20)
        ours.close()
        while more := theirs.recv(1 << 20):
            heard += more
    sent = b"".join(piece for pieces in turns for piece in pieces)
    assert heard == sent
    assert taken == len(sent)
