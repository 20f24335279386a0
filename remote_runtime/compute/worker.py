"""Calls a handler in a worker process, which imports Google's client; the process is always ended and reaped."""

from __future__ import annotations

import contextlib
import errno
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import IO, Any, cast

from ..core.callbacks import Progress
from ..core.deadline import Deadline
from ..core.errors import CloudError, DeadlinePassed, LocalError
from ..core.sanitize import redact
from ..core.subprocesses import ISOLATED_SYS_PATH, detached_popen_args, start_python
from .worker_protocol import TIMEOUT_HINT, decode, encode

MAX_MESSAGE_BYTES = 1 << 20
STDERR_TAIL_BYTES = 8192
EXIT_TIMEOUT_S = 1.0
# The worker gives up this much earlier than the caller, so that it can report what it was waiting for.
MARGIN_S = 1.0
POLL_EVERY_S = 0.1
# The last is the interpreter's, when it cannot even raise a MemoryError.
OUT_OF_MEMORY = (
    "MemoryError", "Cannot allocate memory", "failed to map segment", "out of memory", "returned NULL without",
)  # fmt: skip
WINDOWS_CRASHES = 0xC0000000
PROGRAM = ISOLATED_SYS_PATH + "import runpy; runpy.run_module('remote_runtime.compute', run_name='__main__')"


def call(
    name: str, /, *arguments: Any, progress: Progress, deadline: Deadline, environ: Mapping[str, str], **options: Any
) -> Any:
    """The result of ``handlers.NAME``, from a worker process with the environment ``environ``.

    Options that are functions are called in this process; the worker waits for them. Raises what the handler raises,
    ``CloudError`` ``cloud-client-killed`` when the worker is killed twice, ``DeadlinePassed``, ``Interrupted``, and
    ``RuntimeError`` with the end of the worker's stderr when it has a bug. A killed worker is replaced once: every
    handler can be called again.
    """
    callbacks = {key: value for key, value in options.items() if callable(value)}
    values = {key: value for key, value in options.items() if key not in callbacks}
    request = {"call": name, "arguments": arguments, "options": values, "callbacks": list(callbacks)}
    announced: dict[str, Any] = {}
    for is_last in (False, True):
        try:
            result = _call_once(request, callbacks, announced, progress=progress, deadline=deadline, environ=environ)
            return _completed(name, result, announced)
        except _WorkerKilled as killed:
            if is_last:
                what = "Google's client library was killed twice"
                raise CloudError("cloud-client-killed", what, str(killed)) from killed
            progress(f"Google's client library was killed ({killed}); trying once more")
    raise AssertionError("the last attempt returns or raises")


def _completed(name: str, result: Any, announced: Mapping[str, Any]) -> Any:
    """``result``, with what a killed worker had begun: the next worker found it done, and does not report it."""
    if name == "find" and "before_start" in announced:
        return replace(result, started_from=announced["before_start"].started_from)
    if name == "grant_access" and "before_write" in announced:
        return replace(result, added=result.added or announced["before_write"])
    return result


class _WorkerKilled(Exception):
    """The worker was ended from outside, or had no memory. The text says how."""


def _call_once(
    request: Mapping[str, Any],
    callbacks: Mapping[str, Any],
    announced: dict[str, Any],
    *,
    progress: Progress,
    deadline: Deadline,
    environ: Mapping[str, str],
) -> Any:
    """``announced`` gets the last argument of each callback that has returned."""
    deadline.check()
    remaining_s = deadline.remaining_s()
    until = time.time() + remaining_s - min(MARGIN_S, remaining_s / 4)
    last_progress = ""
    with tempfile.TemporaryFile() as stderr, _process(environ, stderr) as process:
        stdin, stdout = cast("IO[bytes]", process.stdin), cast("IO[bytes]", process.stdout)
        _send(stdin, {**request, "until": until, "timeout_s": deadline.timeout_s})
        for message in _messages(stdout, deadline):
            if message is None:
                hint = TIMEOUT_HINT if request["call"] == "find" else ""
                raise DeadlinePassed(f"Compute Engine took more than {deadline.timeout_s:g} s", last_progress, hint)
            if "progress" in message:
                last_progress = message["progress"]
                progress(last_progress)
            elif "callback" in message:
                name, argument = message["callback"], message["argument"]
                callbacks[name](argument)
                announced[name] = argument
                _send(stdin, {"done": True})
            elif "error" in message:
                raise message["error"]
            else:
                return message["result"]
        raise _exit_error(process, stderr)


def _exit_error(process: subprocess.Popen[bytes], stderr: IO[bytes]) -> Exception:
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(EXIT_TIMEOUT_S)  # for its own exit status
    text = _tail(process, stderr)
    status = process.returncode
    if status < 0:
        number = -status
        name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
        out_of_memory = "; the system does that when its memory is used up" if name == "SIGKILL" else ""
        return _WorkerKilled(f"it was ended by {name}{out_of_memory}")
    if status >= WINDOWS_CRASHES or any(words in text for words in OUT_OF_MEMORY):
        return _WorkerKilled("it had not enough memory" if status < WINDOWS_CRASHES else f"it ended with {status:#x}")
    return RuntimeError(f"the Compute Engine child process died:\n{text}\n(exit status {status})")


@contextmanager
def _process(environ: Mapping[str, str], stderr: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    try:
        process = start_python(
            ["-c", PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=_worker_environ(environ),
            **detached_popen_args(),  # Ctrl-C must not end the worker with a traceback: this process ends it
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
    """The worker imports the same modules as this process, and nothing from the current directory that this process
    would not import: that may be another person's repository."""
    modules = [os.path.abspath(entry) for entry in sys.path]
    return {
        **environ,
        "PYTHONPATH": os.pathsep.join(modules),
        # One request to the metadata server (3 s) shows whether this is a Google machine; the default is three.
        "GCE_METADATA_DETECT_RETRIES": environ.get("GCE_METADATA_DETECT_RETRIES", "1"),
    }


def _messages(stdout: IO[bytes], deadline: Deadline) -> Iterator[Any]:
    """The worker's messages until it closes its stdout; None when the deadline passes first."""
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def read() -> None:
        while line := stdout.readline(MAX_MESSAGE_BYTES):
            lines.put(line)
        lines.put(b"")

    threading.Thread(target=read, name="compute-worker", daemon=True).start()
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
        yield decode(line)


def _send(stdin: IO[bytes], message: Mapping[str, Any]) -> None:
    with contextlib.suppress(OSError):  # the worker has died; its stdout ends too, which is reported
        stdin.write(encode(message))
        stdin.flush()


def _tail(process: subprocess.Popen[bytes], stderr: IO[bytes]) -> str:
    _terminate(process)
    stderr.seek(0, os.SEEK_END)
    stderr.seek(max(0, stderr.tell() - STDERR_TAIL_BYTES))
    return redact(stderr.read().decode("utf-8", "replace").strip())


def _terminate(process: subprocess.Popen[bytes]) -> None:
    """Ends and reaps the worker. It exits by itself when its stdin closes, unless it hangs."""
    _close(process.stdin)
    for end in (process.terminate, process.kill):
        if process.poll() is not None:
            break
        end()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(EXIT_TIMEOUT_S)
    _close(process.stdout)


def _close(stream: IO[bytes] | None) -> None:
    if stream is not None:
        with contextlib.suppress(OSError):
            stream.close()
