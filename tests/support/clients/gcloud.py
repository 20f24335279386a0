"""Google's own client, where it is installed: what the relay of our tests is judged by."""

from __future__ import annotations

import contextlib
import os
import queue
import re
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

START_S = 60.0
TOKEN = "a-token-of-gcloud"


def is_there() -> bool:
    return shutil.which("gcloud") is not None


@contextlib.contextmanager
def iap_tunnel(url: str, directory: Path) -> Iterator[int]:
    """The local port of `gcloud compute start-iap-tunnel` through the relay at ``url``; no API is asked."""
    token = directory / "gcloud-token"
    token.write_text(TOKEN)
    environ = {
        **os.environ,
        "CLOUDSDK_CONFIG": str(directory / "gcloud"),
        "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE": str(token),
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
        "PYTHONUNBUFFERED": "1",
    }
    words = [
        *("gcloud", "compute", "start-iap-tunnel", "my-vm", "22", "--project=my-project", "--zone=europe-west4-a"),
        *("--local-host-port=localhost:0", f"--iap-tunnel-url-override={url}"),
        *("--iap-tunnel-insecure-disable-websocket-cert-check", "--iap-tunnel-disable-connection-check"),
    ]
    process = subprocess.Popen(
        words,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # gcloud is a shell script around a Python
    )
    found: queue.SimpleQueue[int] = queue.SimpleQueue()
    said: list[str] = []

    def listen() -> None:
        for line in process.stdout or ():
            said.append(line)
            if match := re.search(r"Listening on port \[(\d+)\]", line):
                found.put(int(match[1]))

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    try:
        try:
            port = found.get(timeout=START_S)
        except queue.Empty:
            raise AssertionError(f"gcloud does not listen: {''.join(said)}") from None
        yield port
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        listener.join(5)
        if process.stdout:
            process.stdout.close()


def connect(port: int) -> socket.socket:
    return socket.create_connection(("localhost", port), timeout=30)
