"""What the edges are given to work with: how to tell and ask a person, and how to run a command on the machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from .deadline import Deadline
from .fast_dataclass import fast_dataclass


@fast_dataclass(frozen=True)
class CommandResult:
    """How a command on the machine ended. ``status`` is its exit status, None if the connection was lost first, or
    nothing more was awaited; ``forced``: where the server says that a command is forced on this login, if it does;
    ``stderr`` is the end of what it wrote there, at most 8 KiB, cleaned of control characters."""

    status: int | None
    stderr: str = ""
    forced: str = ""


class Progress(Protocol):
    """Says to the person what is being done or waited for, in one short line without a final stop."""

    def __call__(self, text: str) -> None: ...


class Prompt(Protocol):
    """Asks the person. Raises ``SshError`` with ``code`` when nobody is there to answer."""

    def __call__(self, prompt: str, *, secret: bool, code: str) -> str: ...


class RunCommand(Protocol):
    """Runs a command on the machine: ``stdin`` is sent, and closed unless there is ``reply``, which is asked after each
    line and ten times a second what to send next (None closes it). ``on_line`` is given each line of its stdout
    (decoded, without the line end; a line over 1 MiB or more than 16 MiB in all ends the command with ``MachineError``
    ``machine-answer-invalid``); when it answers true, nothing more is awaited.

    A command has ended when its exit status is there: what it left behind in the background may keep its output open.

    Raises ``DeadlinePassed`` or ``Interrupted`` (the command is then abandoned, its channel closed) and ``SshError``.
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
