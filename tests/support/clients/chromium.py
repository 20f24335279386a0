"""A headless Chromium, driven over the DevTools protocol."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

from ..environment.waiting import eventually

CHROMIUM = "/usr/bin/chromium"
START_S = 60.0
ANSWER_S = 30.0
QUIET = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-breakpad",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1000,800",
)


@contextlib.contextmanager
def running_chromium(*flags: str) -> Iterator[Chromium]:
    """A browser with a profile of its own; all its processes are gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="rr-chromium-", ignore_cleanup_errors=True) as directory:
        profile = Path(directory)
        with (profile / "log").open("wb") as log:
            process = subprocess.Popen(
                [CHROMIUM, *QUIET, *flags, f"--user-data-dir={profile}", "--remote-debugging-port=0", "about:blank"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            with connect(_devtools(profile, process), max_size=None, proxy=None) as connection:
                browser = Chromium(connection)
                yield browser
                browser.command("Browser.close")
            process.wait(10)
        finally:
            with contextlib.suppress(ProcessLookupError):  # it has ended by itself, as it was told
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)


class Chromium:
    """One connection, one thread: a command waits for its own answer."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._numbers = itertools.count(1)

    def command(
        self, method: str, parameters: dict[str, Any] | None = None, *, tab: str = "", within_s: float = ANSWER_S
    ) -> dict[str, Any]:
        """The result; events that come meanwhile are of no interest to a test that asks the page itself."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters or {}}
        self._connection.send(json.dumps({**message, "sessionId": tab} if tab else message))
        while True:
            said = json.loads(self._connection.recv(timeout=within_s))
            if said.get("id") == number:
                assert "error" not in said, (method, said["error"])
                return dict(said["result"])

    def permit(self, origin: str, permissions: Sequence[str], setting: str) -> None:
        """``setting``: ``granted``, ``denied`` or ``prompt``."""
        for name in permissions:
            wanted = {"permission": {"name": name}, "setting": setting, "origin": origin}
            self.command("Browser.setPermission", wanted)

    def open(self, url: str) -> Tab:
        """A tab whose page has been loaded."""
        target = self.command("Target.createTarget", {"url": url})["targetId"]
        session = self.command("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        tab = Tab(self, str(session))
        loaded = f"document.readyState === 'complete' && location.href.startsWith({json.dumps(url)})"
        eventually(lambda: tab.evaluate(loaded), within_s=START_S, what=f"the page {url}")
        return tab


class Tab:
    def __init__(self, browser: Chromium, session: str) -> None:
        self._browser = browser
        self._session = session

    def evaluate(self, expression: str, *, within_s: float = ANSWER_S) -> Any:
        """What the expression, or the promise that it is, comes to."""
        asked = {"expression": expression, "awaitPromise": True, "returnByValue": True}
        answer = self._browser.command("Runtime.evaluate", asked, tab=self._session, within_s=within_s)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def screenshot(self, path: Path) -> None:
        """The whole page as a PNG file."""
        shot = self._browser.command(
            "Page.captureScreenshot", {"format": "png", "captureBeyondViewport": True}, tab=self._session
        )
        path.write_bytes(base64.b64decode(shot["data"]))


def _devtools(profile: Path, process: subprocess.Popen[bytes]) -> str:
    """The browser writes its port and path into a file once it listens."""
    written = profile / "DevToolsActivePort"

    def lines() -> list[str]:
        assert process.poll() is None, (profile / "log").read_text(errors="replace")
        found = written.read_text().split() if written.exists() else []
        return found if len(found) == 2 else []

    port, path = eventually(lines, within_s=START_S, what="Chromium's DevTools port")
    return f"ws://127.0.0.1:{port}{path}"
