"""How much memory of a Jupyter server clients of streams use that keep to no rule, without the token and with it. Each
row begins with a new server."""

from __future__ import annotations

import argparse
import contextlib
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from remote_runtime.bridge.streams.protocol import frames
from tests.support.clients.raw_carrier import RawCarrier, take_over
from tests.support.servers.jupyter import JupyterServer

MIB = 1 << 20
FILE_BYTES = 64 * MIB
STREAMS = 500
CONNECTIONS = 500
SEND_S, SETTLE_S, ROW_S, ANSWER_S = 20.0, 5.0, 90.0, 60.0
MOST_BYTES_WITHOUT_TOKEN = 50 * MIB
# One window of 1 MiB each, and 256 MiB of wider ones in each direction.
MOST_BYTES_WITH_TOKEN = (STREAMS + 2 * 256 + 50) * MIB

Row = Callable[[JupyterServer, contextlib.ExitStack], None]


def silent_handshakes(server: JupyterServer, stack: contextlib.ExitStack) -> None:
    """Connections that are taken over, and say nothing then."""
    for _ in range(CONNECTIONS):
        _take_over(server, stack)


def unfinished_hellos(server: JupyterServer, stack: contextlib.ExitStack) -> None:
    """HELLOs of the largest size, without their last byte."""
    head = frames.HEAD.pack(frames.HELLO, 0, 0, 0, 0, frames.MAX_OTHER_BYTES)
    for _ in range(CONNECTIONS):
        if sock := _take_over(server, stack):
            _send(sock, head + bytes(frames.MAX_OTHER_BYTES - 1))


def wrong_proofs(server: JupyterServer, stack: contextlib.ExitStack) -> None:
    """HELLOs with another token."""
    for _ in range(CONNECTIONS):
        stack.enter_context(RawCarrier(server.port, "0" * 48))


def early_bytes(server: JupyterServer, stack: contextlib.ExitStack) -> None:
    """All of the window of each stream but its first byte, in pieces with a gap before each."""
    sock = _carrier(server, stack)
    pieces = [(at, min(500, MIB - at)) for at in range(1, MIB, 512)]
    for number in range(1, STREAMS + 1):
        _send(sock, b"".join(frames.frame(frames.DATA, number, at, bytes(size)) for at, size in pieces))


def unread_downloads(server: JupyterServer, stack: contextlib.ExitStack) -> None:
    """A file through each stream, which may send without limit, on a carrier that is not read."""
    sock = _carrier(server, stack)
    request = f"GET /files/large?token={server.token} HTTP/1.1\r\nHost: localhost:{server.port}\r\n\r\n".encode()
    limit = frames.LIMIT.pack(1 << 60)
    for number in range(1, STREAMS + 1):
        _send(sock, frames.frame(frames.DATA, number, 0, request) + frames.frame(frames.ACK, number, 0, limit))


def unread_answers(server: JupyterServer, stack: contextlib.ExitStack) -> None:
    """Questions whose answers are not read."""
    sock = _carrier(server, stack)
    _send(sock, frames.frame(frames.PING) * 1000 * STREAMS)


def false_claims(server: JupyterServer, stack: contextlib.ExitStack) -> None:
    """Uploads without an end whose sender always claims that the window is too small."""
    sock = _carrier(server, stack)
    head = f"PUT /api/contents/x?token={server.token} HTTP/1.1\r\nHost: localhost:{server.port}\r\n"
    head += "Content-Length: 1000000000\r\n\r\n"
    for number in range(1, STREAMS + 1):
        _send(sock, frames.frame(frames.DATA, number, 0, head.encode(), frames.BLOCKED))
    for offset in range(len(head), 4 * MIB, MIB // 4):
        for number in range(1, STREAMS + 1):
            _send(sock, frames.frame(frames.DATA, number, offset, bytes(MIB // 4), frames.BLOCKED))


WITHOUT_TOKEN: tuple[Row, ...] = (silent_handshakes, unfinished_hellos, wrong_proofs)
WITH_TOKEN: tuple[Row, ...] = (early_bytes, unread_downloads, unread_answers, false_claims)


def main(arguments: list[str]) -> int:
    argparse.ArgumentParser(prog="scripts/soak hostile", description=__doc__).parse_args(arguments)
    within = [_run(row, MOST_BYTES_WITHOUT_TOKEN) for row in WITHOUT_TOKEN]
    within += [_run(row, MOST_BYTES_WITH_TOKEN) for row in WITH_TOKEN]
    return 0 if all(within) else 1


def _run(row: Row, most_bytes: int) -> bool:
    with JupyterServer() as server, contextlib.ExitStack() as stack:
        with Path(server.root_dir, "large").open("wb") as file:
            file.truncate(FILE_BYTES)
        process = psutil.Process(server.pid)
        before = peak = process.memory_info().rss
        thread = threading.Thread(target=row, args=(server, stack), daemon=True)
        thread.start()
        ends_at, limit = float("inf"), time.monotonic() + ROW_S
        while time.monotonic() < min(ends_at, limit):
            peak = max(peak, process.memory_info().rss)
            if not thread.is_alive() and ends_at == float("inf"):
                ends_at = time.monotonic() + SETTLE_S
            time.sleep(0.02)
        answers = _answers(server)
    verdict = "" if peak - before < most_bytes and answers else ", too much" if answers else ", and no answer"
    sys.stdout.write(f"{row.__name__:18} +{(peak - before) / MIB:.0f} MiB of {most_bytes // MIB}{verdict}\n")
    sys.stdout.flush()
    return not verdict


def _answers(server: JupyterServer) -> bool:
    """Whether it answers others meanwhile."""
    with socket.create_connection(("127.0.0.1", server.port), ANSWER_S) as sock:
        sock.sendall(f"GET /api HTTP/1.1\r\nHost: localhost:{server.port}\r\nConnection: close\r\n\r\n".encode())
        return sock.recv(64).startswith(b"HTTP/1.1 200 ")


def _carrier(server: JupyterServer, stack: contextlib.ExitStack) -> socket.socket:
    sock = stack.enter_context(RawCarrier(server.port, server.token)).take_socket()
    sock.settimeout(SEND_S)
    return sock


def _take_over(server: JupyterServer, stack: contextlib.ExitStack) -> socket.socket | None:
    """None once the server takes over no more connections, which is right."""
    with contextlib.suppress(AssertionError):
        return stack.enter_context(take_over(server.port, secrets.token_hex(32))[0])
    return None


def _send(sock: socket.socket, content: bytes) -> None:
    """A server that closes the connection, or reads no more of it, is right."""
    with contextlib.suppress(OSError):
        sock.sendall(content)
