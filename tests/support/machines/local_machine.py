"""``callbacks.RunCommand`` on this computer, as another machine: its own HOME, its own PATH, login files that print."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from remote_runtime.core.callbacks import CommandResult
from remote_runtime.core.deadline import Deadline


class LocalMachine:
    """``run`` executes there. ``path``: the folders on its PATH; ``banner``: what its login files print;
    ``within``: what its commands are run by."""

    def __init__(self, home: Path, *, path: Sequence[str] | None = None, banner: str = "") -> None:
        self.home = home
        self.home.mkdir(exist_ok=True)
        self.banner = banner
        self.within: list[str] = []
        self.runs = 0
        self.environ = {
            "HOME": str(home),
            "PATH": os.pathsep.join(path or [str(Path(sys.executable).parent), "/usr/bin", "/bin"]),
            "LANG": "C.UTF-8",
            **{name: value for name, value in os.environ.items() if name.startswith("PIP_")},
        }

    @property
    def folder(self) -> Path:
        return self.home / ".local" / "share" / "remote-runtime"

    def run(
        self,
        command: Sequence[str],
        *,
        stdin: bytes,
        on_line: Callable[[str], bool | None],
        deadline: Deadline,
        reply: Callable[[], bytes | None] | None = None,
    ) -> CommandResult:
        self.runs += 1
        for printed in self.banner.splitlines():
            on_line(printed)
        try:
            with _process([*self.within, *command], self.environ) as process:
                lines: queue.Queue[str | None] = queue.Queue()
                said: queue.Queue[bytes] = queue.Queue()
                for each in filter(None, [stdin]) if reply else (stdin, b""):
                    said.put(each)
                _in_thread(_read, process, lines)
                _in_thread(_feed, process, said)
                while (line := lines.get(timeout=deadline.remaining_s())) is not None:
                    if on_line(line):
                        break
                    if (more := reply() if reply else b"") != b"":
                        said.put(more or b"")
                said.put(b"")
                status = process.wait(deadline.remaining_s())
                return CommandResult(status, process.stderr.read().decode()[-8192:] if process.stderr else "")
        except FileNotFoundError:
            return CommandResult(127, "not found")


@contextmanager
def _process(command: Sequence[str], environ: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """When it is left early its pipes are closed and no signal is sent, as sshd does it when a connection dies."""
    pipe = subprocess.PIPE
    process = subprocess.Popen(list(command), stdin=pipe, stdout=pipe, stderr=pipe, env=environ, cwd=environ["HOME"])
    try:
        yield process
    finally:
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream and not stream.closed:
                stream.close()
        process.wait(30)


def _read(process: subprocess.Popen[bytes], lines: queue.Queue[str | None]) -> None:
    try:
        for line in process.stdout or ():
            lines.put(line.decode().rstrip("\n"))
    except ValueError:
        return  # closed because the reader left
    finally:
        lines.put(None)


def _feed(process: subprocess.Popen[bytes], said: queue.Queue[bytes]) -> None:
    """Until nothing more is said."""
    if process.stdin:
        try:
            while data := said.get():
                process.stdin.write(data)
                process.stdin.flush()
            process.stdin.close()
        except (OSError, ValueError):
            return  # it ended without reading


def _in_thread(work: Callable[..., None], *args: object) -> None:
    threading.Thread(target=work, args=args, daemon=True).start()
