"""Commands and groups of commands: their help pages, aliases, and suggestions for unknown names."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import click

from ..core.errors import UsageError
from .flags import flag_options
from .output.theme import paint

MAX_SUGGESTIONS = 3
TYPED_ALIAS = f"{__name__}.alias"  # in a context's ``meta``


class ThemedFormatter(click.HelpFormatter):
    """Bold headings, coloured names of commands and options. Plain text where stdout has no colours."""

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        super().write_usage(prog, args, prefix or f"{paint('Usage:', 'heading', sys.stdout)} ")

    def write_heading(self, heading: str) -> None:
        self.write(f"{paint(f'{heading}:', 'heading', sys.stdout)}\n")

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        super().write_dl([(paint(name, "command", sys.stdout), text) for name, text in rows], col_max, col_spacing)


class ThemedContext(click.Context):
    formatter_class = ThemedFormatter


class ThemedCommand(click.Command):
    """``epilog``: what ``examples`` returns."""

    context_class = ThemedContext

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if not self.epilog:
            return
        formatter.write_paragraph()
        formatter.write_heading("Examples")
        for line in self.epilog.splitlines():
            command, mark, comment = line.partition("  #")
            formatter.write(f"  {paint(command, 'command', sys.stdout)}{paint(mark + comment, 'detail', sys.stdout)}\n")


class OrderedGroup(ThemedCommand, click.Group):
    """Lists its commands in the order in which they were added. ``aliases``: other names, which no page lists.
    ``suggestions``: the command lines that an unknown name may mean. ``sections``: the names below each heading of the
    help page."""

    command_class = ThemedCommand
    group_class = type

    def __init__(
        self,
        *arguments: Any,
        aliases: Mapping[str, str] | None = None,
        suggestions: Mapping[str, Sequence[str]] | None = None,
        sections: Mapping[str, Sequence[str]] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(*arguments, **options)
        self.params += flag_options()
        self.aliases = aliases or {}
        self.suggestions = suggestions or {}
        self.sections = sections

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return super().get_command(ctx, self.aliases.get(cmd_name, cmd_name))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Raises ``UsageError`` for an unknown command."""
        name = args[0]
        if self.get_command(ctx, name) is None and not ctx.resilient_parsing:
            raise self._unknown(ctx.command_path, name)
        _, command, rest = super().resolve_command(ctx, args)
        if name in self.aliases:
            ctx.meta[TYPED_ALIAS] = name
        return self.aliases.get(name, name), command, rest

    def _unknown(self, command_path: str, name: str) -> UsageError:
        hint = did_you_mean(command_path, self.suggestions.get(name) or self.close_matches(name))
        return UsageError(
            "usage", f"Unknown command: {name:.80}", "", hint or f"`{command_path} --help` lists commands"
        )

    def close_matches(self, name: str, topics: Sequence[str] = ()) -> list[str]:
        """The command lines whose last word, or an alias of it, is like ``name``, and such ``topics``."""
        known = {topic: [topic] for topic in topics}
        for word, line in self._lines():
            if word not in self.commands or word == line:
                known.setdefault(word, []).append(line)
        close = difflib.get_close_matches(name, known, MAX_SUGGESTIONS)
        return list(dict.fromkeys(line for word in close for line in known[word]))[:MAX_SUGGESTIONS]

    def _lines(self) -> Iterator[tuple[str, str]]:
        for name, command in self.commands.items():
            yield name, name
            if isinstance(command, click.Group):
                yield from ((inner, f"{name} {inner}") for inner in command.commands)
        yield from self.aliases.items()

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self.format_commands(ctx, formatter)
        click.Command.format_options(self, ctx, formatter)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        shown = {name: command for name, command in self.commands.items() if not command.hidden}
        width = max(map(len, shown))
        for heading, names in (self.sections or {"Commands": list(shown)}).items():
            with formatter.section(heading):
                formatter.write_dl([(f"{name:<{width}}", shown[name].get_short_help_str(80)) for name in names])


def examples(*lines: str) -> str:
    """The examples of a help page. A line is ``COMMAND`` or ``COMMAND  # what it does``, without the program's name."""
    return "\n".join(f"remote-runtime {line}" for line in lines)


def did_you_mean(command_path: str, lines: Sequence[str]) -> str:
    """A hint; empty for no lines."""
    return f"Did you mean {', or '.join(f'`{command_path} {line}`' for line in lines)}?" if lines else ""
