"""Loads that end in the ways connections end: closed by the target, half-closed by the client, reset by either."""

from __future__ import annotations

import hashlib
import random
import socket
import threading
from collections.abc import Sequence

from remote_runtime.ssh.session import Session

from ..clients.forwarded_port import leading_to
from ..servers.echo_servers import WITHIN_S, read_all

RESET = b"\1\0\0\0\0\0\0\0"
MANNERS = ("closing", "half-closing", "client resets", "target resets")


def wrong_endings(
    session: Session, *, rounds: int, size: int, seed: int = 7, manners: Sequence[str] = MANNERS
) -> list[str]:
    """Each manner that often, six connections at a time; in words, what did not come as it should."""
    content = random.Random(seed).randbytes(size)  # noqa: S311  # data to compare, not a secret
    wrong: list[str] = []

    def target(connection: socket.socket) -> None:
        manner = MANNERS[connection.recv(1)[0]]
        if manner == "closing":
            connection.sendall(content)
        elif manner == "half-closing":
            connection.sendall(hashlib.sha256(read_all(connection)).digest())
        elif manner == "target resets":
            connection.sendall(content[: size // 2])
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        else:
            connection.sendall(content)

    def once(port: int, manner: str) -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=WITHIN_S) as client:
            client.sendall(bytes((MANNERS.index(manner),)))
            if manner == "closing":
                came = read_all(client)
                if came != content:
                    wrong.append(f"closing: {len(came)} of {size} bytes came")
            elif manner == "half-closing":
                client.sendall(content)
                client.shutdown(socket.SHUT_WR)
                if read_all(client) != hashlib.sha256(content).digest():
                    wrong.append("half-closing: another answer came")
            elif manner == "client resets":
                client.recv(1000)
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            else:
                while client.recv(1 << 16):
                    pass

    def life(port: int, number: int) -> None:
        for turn in range(rounds):
            manner = manners[(number + turn) % len(manners)]
            try:
                once(port, manner)
            except OSError as error:
                if manner != "target resets":
                    wrong.append(f"{manner}: {error!r}")

    with leading_to(session, target) as opened:
        lives = [threading.Thread(target=life, args=(opened.port, number)) for number in range(6)]
        for thread in lives:
            thread.start()
        for thread in lives:
            thread.join()
    if session.closed:
        wrong.append(f"the connection ended: {session.why_closed}")
    return wrong
