"""remote-runtime's client of Identity-Aware Proxy beside gcloud's, through the same relay over TLS, in the same run.

The relay and the machine behind it run in a process of their own. Without gcloud only remote-runtime is measured.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import multiprocessing
import os
import random
import socket
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from remote_runtime.compute.iap.keepalive import RelayTimeouts
from remote_runtime.compute.iap.tunnel import open_tunnel
from remote_runtime.core.deadline import Deadline
from tests.support.clients import gcloud
from tests.support.faults.faulty_relay import BREAKS, FaultyRelay, RelayFault
from tests.support.servers.iap import INSTANCE, authority

from .table import Row, machine, table

MB = 1 << 20
PATIENCE_S = 15.0
Open = Callable[[], "contextlib.AbstractContextManager[socket.socket]"]


def main(arguments: list[str]) -> int:
    options = _options(arguments)
    with tempfile.TemporaryDirectory() as folder, _relay(Path(folder), options.silent) as relay:
        print(machine())  # noqa: T201  # a program's answer
        good = _whole(relay, options)
        if not gcloud.is_there():
            print("gcloud is not installed: nothing to compare with")  # noqa: T201
        rows = _compared(relay, Path(folder), options)
    print(table(rows))  # noqa: T201
    return 0 if good and all(row.is_met for row in rows) else 1


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench iap", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--megabytes", type=int, default=100, help="of each measured transfer")
    parser.add_argument("--whole-megabytes", type=int, default=1000, help="of the transfer with faults")
    parser.add_argument("--faults", type=int, default=100)
    parser.add_argument(
        "--silent",
        type=float,
        default=1.0,
        metavar="SECONDS",
        help="of the relay, before remote-runtime opens another connection",
    )
    return parser.parse_args(arguments)


def _whole(relay: _Remote, options: argparse.Namespace) -> bool:
    """Every byte, whatever breaks: half of them up, half of them down."""
    size = options.whole_megabytes * MB // 2
    chance = random.Random(1)  # noqa: S311  # where faults happen is no secret
    each = 2 * size // options.faults
    began, resumed, good = time.monotonic(), 0, True
    for transfer in (_up, _down):
        relay.plan([(BREAKS[n % 5], chance.randrange(each // 2, each)) for n in range(options.faults // 2)])
        with relay.ours() as sock:
            good = transfer(sock, size)[1] and good
        resumed += relay.resumed()
    took = time.monotonic() - began
    words = "every byte whole" if good else "BYTES LOST"
    print(f"{2 * size // MB} MB with {resumed} breaks of {len(BREAKS)} kinds in {took:.0f} s: {words}")  # noqa: T201
    return good


def _compared(relay: _Remote, folder: Path, options: argparse.Namespace) -> list[Row]:
    size = options.megabytes * MB
    down: dict[str, list[float]] = {"ours": [], "gcloud": []}
    up: dict[str, list[float]] = {"ours": [], "gcloud": []}
    gap: dict[str, list[float]] = {"ours": [], "gcloud": []}
    ways: dict[str, Open] = {"ours": relay.ours}
    with contextlib.ExitStack() as stack:
        if gcloud.is_there():
            port = stack.enter_context(gcloud.iap_tunnel(relay.url, folder))
            ways["gcloud"] = lambda: gcloud.connect(port)
        for _ in range(options.rounds):
            for who, way in ways.items():
                relay.plan([])
                for figures, transfer in ((down, _down), (up, _up)):
                    with way() as sock:
                        figures[who].append(size / transfer(sock, size)[0] / 1e6)
                relay.plan([("rst", 2 * MB)])
                with way() as sock:
                    gap[who].append(_longest_pause(sock, 20 * MB))
        for who, way in ways.items():
            relay.plan([("fin", 2 * MB)])
            with way() as sock:
                print(f"{who}, after a clean end of TCP: {_outcome(sock, 4 * MB)}")  # noqa: T201
    longest = ", ".join(f"{who} {max(gap[who]):.2f} s" for who in ways)
    print(f"longest resume gap: {longest}")  # noqa: T201
    print(f"remote-runtime's resume gap at most 0.5 s: {'met' if max(gap['ours']) <= 0.5 else 'MISSED'}")  # noqa: T201
    return [
        Row("down, MB/s", down["ours"], down["gcloud"], 1.5, at_least=True),
        Row("up, MB/s", up["ours"], up["gcloud"], 2.0, at_least=True),
        Row("resume gap, s", gap["ours"], gap["gcloud"], 0.5),
    ]


def _down(sock: socket.socket, size: int) -> tuple[float, bool]:
    """Seconds, and whether all of it arrived."""
    began = time.monotonic()
    sock.sendall(b"D" + struct.pack(">Q", size))
    digest, left = hashlib.sha256(), size
    while left:
        part = sock.recv(min(left, 1 << 18))
        if not part:
            return time.monotonic() - began, False
        digest.update(part)
        left -= len(part)
    took = time.monotonic() - began
    return took, _exactly(sock, 32) == digest.digest()


def _up(sock: socket.socket, size: int) -> tuple[float, bool]:
    block = os.urandom(MB)
    digest = hashlib.sha256()
    began = time.monotonic()
    sock.sendall(b"U" + struct.pack(">Q", size))
    for at in range(0, size, MB):
        part = block[: min(MB, size - at)]
        digest.update(part)
        sock.sendall(part)
    heard = _exactly(sock, 32)
    return time.monotonic() - began, heard == digest.digest()


def _longest_pause(sock: socket.socket, size: int) -> float:
    sock.settimeout(PATIENCE_S)
    sock.sendall(b"D" + struct.pack(">Q", size))
    longest, got, last = 0.0, 0, time.monotonic()
    while got < size:
        try:
            part = sock.recv(1 << 18)
        except TimeoutError:
            return PATIENCE_S
        if not part:
            return PATIENCE_S
        now = time.monotonic()
        longest, last, got = max(longest, now - last), now, got + len(part)
    return longest


def _outcome(sock: socket.socket, size: int) -> str:
    sock.settimeout(PATIENCE_S)
    try:
        return "all bytes came" if _down(sock, size)[1] else "the connection ended"
    except TimeoutError:
        return f"it hangs (nothing for {PATIENCE_S:.0f} s)"


def _exactly(sock: socket.socket, size: int) -> bytes:
    content = b""
    while len(content) < size and (part := sock.recv(size - len(content))):
        content += part
    return content


class _Remote:
    """The process of the relay, asked over a pipe."""

    def __init__(self, pipe: Any, url: str, silent_s: float) -> None:
        self._pipe = pipe
        self._limits = RelayTimeouts(silent_s=silent_s, idle_s=2 * silent_s)
        self.url = url

    @contextlib.contextmanager
    def ours(self) -> Iterator[socket.socket]:
        environ = {"REMOTE_RUNTIME_IAP_URL": self.url, "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true"}
        passage = open_tunnel(INSTANCE, environ=environ, deadline=Deadline(10), timeouts=self._limits)
        try:
            yield passage.socket
        finally:
            self._resumed = passage.resumed
            passage.close()

    def resumed(self) -> int:
        return self._resumed

    def plan(self, faults: list[tuple[str, int]]) -> None:
        self._pipe.send(faults)
        self._pipe.recv()


@contextlib.contextmanager
def _relay(folder: Path, silent_s: float) -> Iterator[_Remote]:
    tls_folder = folder / "tls"
    tls_folder.mkdir()
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(theirs, tls_folder), daemon=True)
    process.start()
    os.environ["SSL_CERT_FILE"] = str(tls_folder / "ca.pem")
    try:
        yield _Remote(ours, ours.recv(), silent_s)
    finally:
        process.terminate()
        process.join()


def _serve(pipe: Any, folder: Path) -> None:
    tls, _ = authority(folder)
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=_accept, args=(listener,), daemon=True).start()
    relay = FaultyRelay(lambda asked: listener.getsockname(), tls=tls)
    pipe.send(relay.url)
    while True:
        plan = pipe.recv()
        relay.faults.clear()
        relay.faults.extend(RelayFault(kind, after) for kind, after in plan)
        pipe.send(True)


def _accept(listener: socket.socket) -> None:
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=_answer, args=(connection,), daemon=True).start()


def _answer(connection: socket.socket) -> None:
    with contextlib.suppress(OSError), connection:
        while (head := _exactly(connection, 9)) and len(head) == 9:
            (size,) = struct.unpack(">Q", head[1:])
            digest = hashlib.sha256()
            if head[:1] == b"U":
                left = size
                while left:
                    part = connection.recv(min(left, 1 << 18))
                    if not part:
                        return
                    digest.update(part)
                    left -= len(part)
            else:
                block = os.urandom(MB)
                for at in range(0, size, MB):
                    part = block[: min(MB, size - at)]
                    digest.update(part)
                    connection.sendall(part)
            connection.sendall(digest.digest())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
