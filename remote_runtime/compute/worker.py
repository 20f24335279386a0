"""The child process that imports Google's client: started, listened to, and always ended and reaped."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any, cast

from ..core.access import InstalledKey
from ..core.callbacks import Progress
from ..core.deadline import Deadline
from ..core.errors import CloudError, DeadlinePassed, LocalError, from_dict
from ..core.model import Instance
from ..core.sanitize import redact
from ..core.subprocesses import ISOLATED_SYS_PATH, start_python
from . import worker_protocol

MAX_MESSAGE_BYTES = 1 << 20
STDERR_TAIL_BYTES = 8192
EXIT_TIMEOUT_S = 1.0
# The child gives up this much earlier than we do, so that it can say what it was waiting for.
MARGIN_S = 1.0
POLL_EVERY_S = 0.1
TIMEOUT_HINT = "`timeouts.instance` in the profile, or `--timeout`, allows more"
# The last is the interpreter's, when it cannot even raise a MemoryError.
OUT_OF_MEMORY = (
    "MemoryError",
    "Cannot allocate memory",
    "failed to map segment",
    "out of memory",
    "returned NULL without",
)
WINDOWS_CRASHES = 0xC0000000
WORKER_CODE = ISOLATED_SYS_PATH + "import runpy; runpy.run_module('remote_runtime.compute', run_name='__main__')"


def call(
    request: worker_protocol.Json,
    *,
    progress: Progress,
    deadline: Deadline,
    environ: Mapping[str, str],
    started: Callable[[Instance], None] | None = None,
    adding: Callable[[InstalledKey], None] | None = None,
) -> Any:
    """What the child answers to ``order``. Raises the errors it reports, ``CloudError`` ``cloud-client-killed`` when it
    is killed twice, ``DeadlinePassed``, ``Interrupted``, and ``RuntimeError`` with the end of its stderr when it has a
    bug. What it has recorded before it was killed stays recorded: every order can be given again."""
    given: dict[str, Any] = {"deadline": deadline, "environ": environ, "started": started, "adding": adding}
    try:
        return _call_once(request, progress=progress, **given)
    except _WorkerKilled as killed:
        progress(f"The process with Google's client was ended ({killed}); trying once more")
    try:
        return _call_once(request, progress=progress, **given)
    except _WorkerKilled as killed:
        what = "The process with Google's client was ended before it had an answer, twice"
        raise CloudError("cloud-client-killed", what, str(killed)) from killed


class _WorkerKilled(Exception):
    """The child was ended from outside, or had no memory. Its text says how."""


def _call_once(
    request: worker_protocol.Json,
    *,
    progress: Progress,
    deadline: Deadline,
    environ: Mapping[str, str],
    started: Callable[[Instance], None] | None,
    adding: Callable[[InstalledKey], None] | None,
) -> Any:
    deadline.check()
    remaining_s = deadline.remaining_s()
    until = time.time() + remaining_s - min(MARGIN_S, remaining_s / 4)
    last_told = ""
    with tempfile.TemporaryFile() as stderr, _process(environ, stderr) as process:
        stdin, stdout = cast("IO[bytes]", process.stdin), cast("IO[bytes]", process.stdout)
        _send(stdin, {**request, "until": until, "within_s": deadline.timeout_s})
        for answer in _messages(stdout, deadline):
            if answer is None:
                hint = TIMEOUT_HINT if request["do"] == "find" else ""
                raise DeadlinePassed(f"Compute Engine took more than {deadline.timeout_s:g} s", last_told, hint)
            if "tell" in answer:
                last_told = answer["tell"]
                progress(last_told)
            elif "started" in answer and started is not None:
                started(worker_protocol.to_instance(answer["started"]))
                _send(stdin, {"recorded": True})
            elif "adding" in answer and adding is not None:
                adding(InstalledKey(**answer["adding"]))
                _send(stdin, {"recorded": True})
            elif "error" in answer:
                raise from_dict(answer["error"])
            elif "result" in answer:
                return answer["result"]
        raise _exit_error(process, stderr)


def _exit_error(process: subprocess.Popen[bytes], stderr: IO[bytes]) -> Exception:
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(EXIT_TIMEOUT_S)  # before it is ended by us
    stderr_text = _tail(process, stderr)
    status = process.returncode
    if status < 0:
        number = -status
        name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
        out_of_memory = "; the system does that when its memory is used up" if name == "SIGKILL" else ""
        return _WorkerKilled(f"it was ended by {name}{out_of_memory}")
    if status >= WINDOWS_CRASHES or any(words in stderr_text for words in OUT_OF_MEMORY):
        return _WorkerKilled("it had not enough memory" if status < WINDOWS_CRASHES else f"it ended with {status:#x}")
    return RuntimeError(f"the Compute Engine child process died:\n{stderr_text}\n(exit status {status})")


@contextmanager
def _process(environ: Mapping[str, str], stderr: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    flags = getattr(subprocess, "CREATE_NO_WINDOW", 0) | getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
    try:
        process = start_python(
            ["-c", WORKER_CODE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=_worker_environ(environ),
            # Ctrl-C is for us; we then end the child, which must not die with a traceback of its own.
            start_new_session=os.name == "posix",
            creationflags=flags,
        )
    except LocalError as error:
        cause = error.__cause__
        if isinstance(cause, OSError) and cause.errno in (errno.ENOMEM, errno.EAGAIN):
            raise _WorkerKilled(f"it could not be started: {cause.strerror or cause}") from error
        raise
    try:
        yield process
    finally:
        _terminate(process)


def _worker_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """The child imports what this process would import, wherever it is started, and nothing from the current directory
    that this process would not: that may be a stranger's repository."""
    modules = [os.path.abspath(entry) for entry in sys.path]
    return {
        **environ,
        "PYTHONPATH": os.pathsep.join(modules),
        # One try at the metadata server (3 s) tells whether this computer is a Google machine; the default are three.
        "GCE_METADATA_DETECT_RETRIES": environ.get("GCE_METADATA_DETECT_RETRIES", "1"),
    }


def _messages(stdout: IO[bytes], deadline: Deadline) -> Iterator[Any]:
    """The child's answers until it closes its stdout; None when the deadline passes first."""
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def listen() -> None:
        while line := stdout.readline(MAX_MESSAGE_BYTES):
            lines.put(line)
        lines.put(b"")

    threading.Thread(target=listen, name="compute-answers", daemon=True).start()
    while True:
        deadline.check()
        try:
            line = lines.get(timeout=POLL_EVERY_S)
        except queue.Empty:
            if deadline.passed():
                yield None
            continue
        if not line:
            return
        yield json.loads(line)


def _send(stdin: IO[bytes], message: worker_protocol.Json) -> None:
    try:
        stdin.write(json.dumps(message).encode() + b"\n")
        stdin.flush()
    except OSError:
        # It died; its stdout ends too, and there we report it.
        return


def _tail(process: subprocess.Popen[bytes], stderr: IO[bytes]) -> str:
    _terminate(process)
    stderr.seek(0, os.SEEK_END)
    stderr.seek(max(0, stderr.tell() - STDERR_TAIL_BYTES))
    return redact(stderr.read().decode("utf-8", "replace").strip())


def _terminate(process: subprocess.Popen[bytes]) -> None:
    """Ends and reaps the child. It ends by itself when its stdin closes, unless it hangs."""
    if process.stdin is not None:
        _close(process.stdin)
    for end in (process.terminate, process.kill):
        if process.poll() is not None:
            break
        end()
        try:
            process.wait(EXIT_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            continue
    if process.stdout is not None:
        _close(process.stdout)


def _close(stream: IO[bytes]) -> None:
    try:
        stream.close()
    except OSError:
        return
