"""200 MB down and 200 MB up through streams while the SSH connection is cut five times: hashes and bytes sent again."""

from __future__ import annotations

import argparse
import base64
import contextlib
import hashlib
import os
import socket
import tempfile
import threading
import time
from pathlib import Path

from tests.support.clients.ssh_client import Visitor
from tests.support.clients.stream_port import Port
from tests.support.servers.jupyter import JupyterServer
from tests.support.servers.sshd import running_sshd

from .faults import tell

STEP_BYTES = 1 << 20


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/soak transfers", description=__doc__)
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--cuts", type=int, default=5)
    options = parser.parse_args(arguments)
    size = options.megabytes << 20
    with tempfile.TemporaryDirectory(prefix="rr-") as home, contextlib.ExitStack() as stack:
        sshd = stack.enter_context(running_sshd(Path(home, "sshd")))
        server = stack.enter_context(JupyterServer(extra_config={"ServerApp": {"max_body_size": 2 * size}}))
        port = stack.enter_context(contextlib.closing(Port(Visitor(sshd, Path(home, "visitor")), server)))
        port.connect()
        content = os.urandom(STEP_BYTES) * options.megabytes
        (server.root_dir / "down.bin").write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        results: dict[str, str] = {}
        transfers = [
            threading.Thread(target=lambda: results.update(down=_download(port))),
            threading.Thread(target=lambda: results.update(up=_upload(port, content, server))),
        ]
        for transfer in transfers:
            transfer.start()
        for number in range(options.cuts):
            time.sleep(1)
            sshd.cut()
            port.lose()
            time.sleep(1 + number)
            port.connect()
        for transfer in transfers:
            transfer.join()
        for way, found in results.items():
            tell(f"{way}: {options.megabytes} MB, {options.cuts} cuts, {'equal' if found == digest else 'WRONG'}")
        tell(f"sent again from here: {port.streams.session.resent_bytes / 1e6:.1f} MB")
        return 0 if set(results.values()) == {digest} else 1


def _download(port: Port) -> str:
    digest = hashlib.sha256()
    with port.ask("/files/down.bin") as client:
        client.settimeout(120)
        head, _, body = client.recv(STEP_BYTES).partition(b"\r\n\r\n")
        while body:
            digest.update(body)
            time.sleep(0.01)  # slow enough to be under way at each cut
            body = client.recv(STEP_BYTES)
    return digest.hexdigest() if head.startswith(b"HTTP/1.1 200") else head.decode(errors="replace")


def _upload(port: Port, content: bytes, server: JupyterServer) -> str:
    prefix, suffix = b'{"type": "file", "format": "base64", "content": "', b'"}'
    encoded = base64.b64encode(content)
    length = len(prefix) + len(encoded) + len(suffix)
    with socket.create_connection(("127.0.0.1", port.front.port), timeout=120) as client:
        head = f"PUT /api/contents/up.bin HTTP/1.1\r\nHost: localhost\r\nAuthorization: token {server.token}\r\n"
        client.sendall(f"{head}Connection: close\r\nContent-Length: {length}\r\n\r\n".encode() + prefix)
        for start in range(0, len(encoded), STEP_BYTES):
            client.sendall(encoded[start : start + STEP_BYTES])
            time.sleep(0.01)
        client.sendall(suffix)
        answer = client.recv(100)
    if not answer.startswith(b"HTTP/1.1 201"):
        return answer.decode(errors="replace")
    return hashlib.sha256((server.root_dir / "up.bin").read_bytes()).hexdigest()
