"""What is run for an SSH session, and what a running one offers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

CHUNK_BYTES = 64 * 1024


@dataclass(frozen=True)
class Program:
    argv: Sequence[str]
    environment: Mapping[str, str]
    directory: Path


class Child(Protocol):
    """A running program. ``outputs``: what it writes; ``status``: its exit status, negative for a signal.

    ``output_ends_with_it``: what its descendants write after its end is not awaited, as sshd does with a terminal.
    """

    pid: int
    output_ends_at_exit: ClassVar[bool]

    @property
    def outputs(self) -> Sequence[asyncio.StreamReader]: ...

    def write(self, data: bytes) -> None: ...

    async def drain(self) -> None: ...

    def close_stdin(self) -> None: ...

    def resize(self, columns: int, rows: int) -> None: ...

    def hang_up(self) -> None:
        """Closes all its pipes, or its terminal, on our side."""
        ...

    def kill(self) -> None: ...

    async def status(self) -> int: ...
