"""Connections that a page holds open through a fault: a cell that prints, and a download under way."""

from __future__ import annotations

import hashlib
import http.client
import json
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from ..environment.waiting import eventually
from .page import Page, execute_request

_EVERY_S = 0.05
_PRINT = f"""
import time
number = 0
while not stopped.exists():
    print(number, flush=True)
    number += 1
    time.sleep({_EVERY_S})
print("end", flush=True)
"""
DOWNLOAD_BYTES = 24 << 20
_STEP_BYTES = 64 << 10
_WITHIN_S = 60.0
_LONGEST_OUTAGE_S = 2 * 3600.0


@dataclass(frozen=True)
class Outcome:
    """``websocket``, ``download``: whether the connection lived through. ``lost``, ``doubled``: lines of the cell.
    ``quiet_s``: from the end of the fault until the first line came; None if none did."""

    websocket: bool
    download: bool
    lost: int
    doubled: int
    quiet_s: float | None

    @property
    def kept(self) -> bool:
        return self.websocket and self.download and not self.lost and not self.doubled

    def __str__(self) -> str:
        if self.kept:
            return "kept"
        words = [name for name, lives in (("websocket", self.websocket), ("download", self.download)) if not lives]
        lines = f"{self.lost} lines lost, {self.doubled} doubled" if self.lost or self.doubled else ""
        return ", ".join([f"{' and '.join(words)} reset"] * bool(words) + [lines] * bool(lines))


class OpenConnections:
    """``folder``: where Jupyter serves files from, on this computer."""

    def __init__(self, page: Page, folder: Path) -> None:
        self._stop_file = folder / "stop-printing"
        self._stop_file.unlink(missing_ok=True)
        self._lines: list[str] = []
        self._printed_at: list[float] = []
        self._channels = page.channels(page.start_kernel())
        self._is_open = True
        self._send(f"from pathlib import Path; stopped = Path({str(self._stop_file)!r})")
        self._send(_PRINT)
        file = folder / "download.bin"
        if not file.exists():
            file.write_bytes(hashlib.sha256(b"remote-runtime").digest() * (DOWNLOAD_BYTES // 32))
        self._hash = hashlib.sha256(file.read_bytes()).hexdigest()
        self._is_fast, self._downloads = threading.Event(), threading.Event()
        self._download_ok = False
        self._threads = [
            threading.Thread(target=self._read_lines, args=(self._channels,), daemon=True),
            threading.Thread(target=self._read_file, args=(page,), daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def wait_for_line(self) -> None:
        """And for the first bytes of the download."""
        eventually(lambda: self._lines and self._downloads.is_set(), what="the cell prints, and the download has begun")

    def finish(self, ended_at: float) -> Outcome:
        """End both, and say what became of them. ``ended_at``: when the fault was over, by ``time.monotonic``."""
        self._stop_file.touch()
        self._is_fast.set()
        for thread in self._threads:
            thread.join(_WITHIN_S)
        self._channels.close()
        numbers = [int(line) for line in self._lines if line.isdigit()]
        missing = len(set(range(max(numbers, default=0) + 1)) - set(numbers))
        return Outcome(
            websocket=self._is_open and "end" in self._lines,
            download=self._download_ok,
            lost=missing if numbers else 1,
            doubled=len(numbers) - len(set(numbers)),
            quiet_s=next((round(at - ended_at, 1) for at in self._printed_at if at > ended_at), None),
        )

    def _send(self, code: str) -> None:
        self._channels.send(json.dumps(execute_request(f"{time.monotonic_ns()}", code)))

    def _read_lines(self, channels: ClientConnection) -> None:
        try:
            while "end" not in self._lines[-1:]:
                message = json.loads(channels.recv(timeout=_LONGEST_OUTAGE_S))
                if message["msg_type"] == "stream":
                    self._lines += message["content"]["text"].split()
                    self._printed_at.append(time.monotonic())
        except (ConnectionClosed, TimeoutError):
            self._is_open = False

    def _read_file(self, page: Page) -> None:
        """Slowly until the fault is over: the download is under way all the time."""
        host, _, port = page.host.partition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=_LONGEST_OUTAGE_S)
        digest = hashlib.sha256()
        try:
            connection.request("GET", f"/files/download.bin?token={page.token}")
            answer = connection.getresponse()
            while content := answer.read(_STEP_BYTES):
                digest.update(content)
                self._downloads.set()
                if not self._is_fast.is_set():
                    time.sleep(0.2)
        except OSError:
            return
        finally:
            connection.close()
        self._download_ok = answer.status == 200 and digest.hexdigest() == self._hash
