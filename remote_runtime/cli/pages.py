"""How the `--help` pages are laid out: commands in the order in which they are needed, and examples at the end."""

from __future__ import annotations

import click


class OrderedGroup(click.Group):
    """Lists its commands as they were added."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


def examples(*lines: str) -> str:
    """An epilog that click does not wrap. A line is ``COMMAND`` or ``COMMAND  # what it does``."""
    return "\n".join(["\b", "Examples:", *(f"  remote-runtime {line}" for line in lines)])
