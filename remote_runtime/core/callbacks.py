"""The callbacks that lower packages get: report progress, prompt the user, run a command on the machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from .deadline import Deadline
from .fast_dataclass import fast_dataclass


@fast_dataclass(frozen=True)
class CommandResult:
    """``status``: the command's exit status, None if the connection was lost first or the caller had read enough.
    ``stderr``: the end of it, at most 8 KiB, without control characters. ``forced``: the source of the command that the
    server forces on this login, if it says so."""

    status: int | None
    stderr: str = ""
    forced: str = ""


class Progress(Protocol):
    """Reports what is being done or waited for, in one short line without a final stop."""

    def __call__(self, text: str) -> None: ...


class Prompt(Protocol):
    """Asks the user. Raises ``SshError`` with ``code`` if there is no user to ask."""

    def __call__(self, prompt: str, *, secret: bool, code: str) -> str: ...


class RunCommand(Protocol):
    """Runs a command on the machine.

    ``stdin`` is sent and closed. With ``reply`` it stays open: ``reply()`` is called after each line and ten times a
    second, and returns more to send, or None to close it. ``on_line`` gets each line of stdout, decoded, without its
    end; if it returns True, the caller has read enough. Output beyond 1 MiB a line or 16 MiB in all raises
    ``MachineError`` ``machine-answer-invalid``.

    The command has ended when its exit status arrives: its background processes may keep its output open.

    Raises ``DeadlinePassed`` or ``Interrupted``, and then closes the channel; ``SshError``.
    """

    def __call__(
        self,
        command: Sequence[str],
        *,
        stdin: bytes,
        on_line: Callable[[str], bool | None],
        deadline: Deadline,
        reply: Callable[[], bytes | None] | None = None,
    ) -> CommandResult: ...
