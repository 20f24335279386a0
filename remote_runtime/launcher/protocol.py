"""The exchange with one remote command: waits until Python is ready, sends the launcher, reads its replies."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from typing import Any

from ..core.callbacks import CommandResult, Progress
from ..core.deadline import Deadline
from ..core.errors import DeadlinePassed, MachineError, RemoteRuntimeError, SshError
from ..core.sanitize import clean, clean_line
from .remote.reply import NO, YES

# The exit status of a Python that has no stdout, or gets no program on its stdin.
EXIT_NO_STREAMS = 113
MAX_REPLIES = 20_000
MAX_LINE_CHARS = 200
MAX_ERROR_CHARS = 8_000
MAX_LOGIN_LINES = 5
# Ends a shell that login files started instead of the command (fish ends only with its input), and answers a `read`;
# Python skips it.
EXIT_LINE = b"exit\n"
EXIT_WITHIN_S = 2.0
CHECK_LOGIN_HINT = "Make `remote-runtime ssh PROFILE -- true` exit at once and print nothing"
KEEP_STREAMS_HINT = "In the login files there, redirect (`exec >FILE`) only if interactive: `[[ $- == *i* ]] && exec …`"
NO_SHELL_HINT = "In the login files there, start another shell only if interactive: `[[ $- == *i* ]] && exec SHELL`"


class CommandNotRun(SshError):
    """``ssh-refused``: the login did not run the program."""


class PythonUnresponsive(Exception):
    """Python does not answer, and the program there did not end with its input."""


class LauncherProtocol:
    """One remote command, as ``callbacks.RunCommand`` runs it: ``on_line`` gets its lines, ``next_input`` returns what
    to send. Before the line ``ready`` it sends only ``exit`` after ``login_wait_s``, and the end of the input after
    half as long again; ``is_late``: Python was ready only after that, and reads nothing more. After twice
    ``login_wait_s`` ``next_input`` raises ``PythonUnresponsive``, unless ``runs_commands``.

    ``search_marker``: a line that shows that commands are run. ``program``: makes the launcher's input when it is sent.
    ``can_forward_to``: whether the SSH server forwards to an address of the machine.
    """

    def __init__(
        self,
        marker: str,
        ready: str,
        search_marker: str,
        program: Callable[[], bytes],
        progress: Progress,
        *,
        login_wait_s: float,
        can_forward_to: Callable[[str | int], bool] | None = None,
    ) -> None:
        self._marker = marker
        self._ready = ready
        self._search_marker = search_marker
        self._program = program
        self._progress = progress
        self._can_forward_to = can_forward_to
        now = time.monotonic()
        self._scheduled_input = [(now + login_wait_s, EXIT_LINE), (now + 1.5 * login_wait_s, None)]
        self._give_up_at = now + 2 * login_wait_s
        self._pending_input: list[bytes] = []
        self._reply_count = 0
        self._last_progress = ""
        self._result: dict[str, Any] | None = None
        self._remote_error: dict[str, Any] | None = None
        self._exit_sent_at: float | None = None
        self.login_lines: list[str] = []
        self.has_started = False
        self.runs_commands = False
        self.is_late = False

    def on_line(self, line: str) -> bool:
        """Returns True when no further line is needed."""
        if line == self._ready and not self.has_started:
            self.has_started = self._exit_sent_at is None or len(self._scheduled_input) > 0
            self.is_late = not self.has_started
            self._pending_input += [self._program()] if self.has_started else []
        elif line.startswith(self._marker):
            self._on_reply(line[len(self._marker) :])
        elif line == self._search_marker:
            self.runs_commands = True
        elif not self.has_started and line.strip() and len(self.login_lines) < MAX_LOGIN_LINES:
            self.login_lines.append(clean_line(line, MAX_LINE_CHARS))
        return self.is_late or self._result is not None or self._remote_error is not None

    def next_input(self) -> bytes | None:
        if not self.has_started and self._scheduled_input and time.monotonic() > self._scheduled_input[0][0]:
            self._exit_sent_at = time.monotonic()
            self._progress("Waiting for the machine's login files")
            return self._scheduled_input.pop(0)[1]
        if not (self.has_started or self.runs_commands) and time.monotonic() > self._give_up_at:
            raise PythonUnresponsive
        return self._pending_input.pop(0) if self._pending_input else b""

    def _on_reply(self, text: str) -> None:
        self.has_started = True
        self._reply_count += 1
        if self._reply_count > MAX_REPLIES or self._result is not None or self._remote_error is not None:
            raise invalid_reply("its output does not end")
        try:
            # JSON can hold lone surrogates, as in paths that are not UTF-8; they cannot be sent or printed.
            reply = json.loads(json.dumps(json.loads(text), ensure_ascii=False).encode("utf-8", "replace"))
        except (ValueError, RecursionError):
            raise invalid_reply("a reply is not JSON") from None
        match reply:
            case {"say": str(said)}:
                self._last_progress = clean_line(said, MAX_LINE_CHARS)
                self._progress(self._last_progress)
            case {"result": dict(result)}:
                self._result = result
            case {"error": dict(error)}:
                self._remote_error = error
            case {"reach": str() | int() as address} if self._can_forward_to is not None:
                self._pending_input.append(YES if self._can_forward_to(address) else NO)
            case {"tick": _}:
                pass
            case _:
                raise invalid_reply("a reply of an unknown kind")

    def result(self, outcome: CommandResult) -> dict[str, Any]:
        if self._remote_error is not None:
            raise remote_error(self._remote_error)
        if outcome.status == EXIT_NO_STREAMS and not self._reply_count:
            raise _blocked_error("read the input of commands", self.login_output())
        if self._result is None:
            ended = "the connection was lost" if outcome.status is None else f"exit status {outcome.status}"
            raise invalid_reply(f"no result ({ended}) {clean(outcome.stderr, 2000)}".strip())
        return self._result

    def timeout_error(self, deadline: Deadline, stderr: str) -> RemoteRuntimeError:
        """With the last progress."""
        after = f"{deadline.timeout_s:.0f} s"
        if self.has_started:
            last = self._last_progress
            why = f"its last progress was: {last}" if last else "it reported no progress"
            return DeadlinePassed(f"Python on the machine timed out after {after}", why)
        if self.runs_commands:
            names = "; ".join(probe_failures(stderr, self._search_marker)) or "no Python was found"
            return DeadlinePassed(f"Finding a Python on the machine timed out after {after}", names)
        if printed := self._printed_output(stderr):
            why = f"after {deadline.timeout_s:.0f} s the login did not end; it printed: {printed}"
            return SshError("ssh-refused", "The machine does not run commands", why, CHECK_LOGIN_HINT)
        why = "its login files, or a command that is forced on this login, did not end and printed nothing"
        return DeadlinePassed(f"The login on the machine timed out after {after}", why, CHECK_LOGIN_HINT)

    def not_run_error(self, outcome: CommandResult) -> SshError:
        """The login does not run remote-runtime's commands."""
        printed = self._printed_output(outcome.stderr)
        if outcome.status == EXIT_NO_STREAMS:
            return _blocked_error("redirect what commands print", printed)
        ended = f"the login ended with exit status {outcome.status}"
        why = f"{ended}; it printed: {printed}" if printed else f"{ended}, and printed nothing"
        if outcome.forced:
            why, hint = f"{outcome.forced} forces a command on this key; {why}", "Set another key: `ssh.identity_file`"
            return SshError("ssh-refused", "The machine runs another command", why, hint)
        if self.ended_by_exit():
            what = "The machine's login files start another program, which waits for input"
            return SshError("ssh-refused", what, why, NO_SHELL_HINT)
        return SshError("ssh-refused", "The machine does not run commands", why, CHECK_LOGIN_HINT)

    def ended_by_exit(self) -> bool:
        """Whether the command has just ended because of ``EXIT_LINE``."""
        return self._exit_sent_at is not None and time.monotonic() - self._exit_sent_at < EXIT_WITHIN_S

    def endless_output_error(self) -> SshError:
        """It printed more than is read, and Python did not start."""
        what = "The machine's login files print endless output"
        why = f"they printed: {self.login_output()}" if self.login_lines else ""
        return SshError("ssh-refused", what, why, CHECK_LOGIN_HINT)

    def login_output(self) -> str:
        return " / ".join(self.login_lines)

    def _printed_output(self, stderr: str) -> str:
        ours = (self._search_marker, self._ready)
        lines = [line for line in stderr.splitlines() if line.strip() and not line.startswith(ours)]
        shown = " / ".join(clean_line(line, MAX_LINE_CHARS) for line in lines[-MAX_LOGIN_LINES:])
        return "; ".join(filter(None, [self.login_output(), shown]))


def probe_failures(stderr: str, search_marker: str) -> list[str]:
    """``PATH: reason`` for each Python that was tried."""
    failures: dict[str, str] = {}
    for part in re.split(rf"^{re.escape(search_marker)} ", stderr, flags=re.MULTILINE)[1:]:
        path, *lines = [line.strip() for line in part.splitlines() if line.strip()] or [""]
        reason = next((line for line in lines if "rror" in line), lines[0] if lines else "it can't be run")
        failures.setdefault(clean_line(path, MAX_LINE_CHARS), clean_line(reason, MAX_LINE_CHARS))
    return [f"{path}: {reason_text}" for path, reason_text in failures.items()]


def remote_error(error: dict[str, Any]) -> MachineError:
    """The launcher's error. Its texts come from the machine: they are sanitized, and the hint is marked."""
    code = error.get("code")
    if not isinstance(code, str) or code not in MachineError.codes:
        return invalid_reply("an error with an unknown code")
    what, why, hint = (error.get(key, "") for key in ("what", "why", "hint"))
    what, why = clean_line(str(what), MAX_LINE_CHARS), clean(str(why), MAX_ERROR_CHARS)
    machine_hint = clean_line(str(hint), MAX_LINE_CHARS)
    return MachineError(
        code, what, why, f"The machine suggests: {machine_hint}"[:MAX_LINE_CHARS] if machine_hint else ""
    )


def invalid_reply(why: str) -> MachineError:
    return MachineError("machine-answer-invalid", "The machine sent an invalid reply", why)


def _blocked_error(how: str, printed: str) -> CommandNotRun:
    """Python runs, and the login files have redirected its streams."""
    why = f"Python runs there, and receives no input{f'; printed was: {printed}' if printed else ''}"
    return CommandNotRun("ssh-refused", f"The machine's login files {how}", why, KEEP_STREAMS_HINT)
