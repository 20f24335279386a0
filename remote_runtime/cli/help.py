"""`help` and `version`."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator

import click
from click.shell_completion import CompletionItem

from .._version import __version__
from ..core.errors import CODES, ERROR_CLASSES, UsageError
from .common import OutputOptions, common
from .group import OrderedGroup, ThemedCommand, did_you_mean, examples
from .output import console
from .output.theme import link, paint


def _topics(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    page = _page(context.find_root(), context.params.get("topic") or ())
    group = page.command if page else None
    commands = group.commands.values() if isinstance(group, click.Group) else ()
    found = [(str(each.name), each.get_short_help_str(80)) for each in commands if not each.hidden]
    if not context.params.get("topic"):
        found += [(code, "Error code.") for code in CODES]
    return [CompletionItem(name, help=text) for name, text in found if name.startswith(incomplete)]


@click.command(
    cls=ThemedCommand,
    name="help",
    epilog=examples(
        "help up",
        "help profiles new",
        "help port-in-use    # what an error code means",
    ),
)
@click.argument("topic", nargs=-1, metavar="[COMMAND|CODE]", shell_complete=_topics)
@common
@click.pass_context
def help_(context: click.Context, topic: tuple[str, ...], output: OutputOptions) -> None:
    """Show help for a command or an error code.

    The page of an error code says what the code means, what causes it, and how to fix it.
    """
    root = context.find_root()
    page = _page(root, topic)
    if page is not None:
        text = page.get_help()
        if output.as_json:
            console.document({"command": page.command_path, "help": text})
        else:
            console.answer(text)
    elif len(topic) == 1 and topic[0] in CODES:
        _show_code(topic[0], output)
    else:
        raise _unknown_topic(root, " ".join(topic))


def _unknown_topic(root: click.Context, topic: str) -> UsageError:
    lines = root.command.close_matches(topic, list(CODES)) if isinstance(root.command, OrderedGroup) else []
    hint = did_you_mean(f"{root.command_path} help", lines) or f"`{root.command_path} help` lists commands"
    return UsageError("usage", f"Unknown command or error code: {topic:.80}", "", hint)


def _page(root: click.Context, words: tuple[str, ...]) -> click.Context | None:
    """The context of the command that ``words`` name; None if there is no such command."""
    context = root
    for word in words:
        group = context.command
        command = group.get_command(context, word) if isinstance(group, click.Group) else None
        if command is None:
            return None
        context = command.context_class(command, info_name=command.name, parent=context)
    return context


def _show_code(code: str, output: OutputOptions) -> None:
    entry = CODES[code]
    exit_code = next(kind.exit_code for kind in ERROR_CLASSES if code in kind.codes)
    meaning = entry.meaning
    if output.as_json:
        page = {"code": code, "meaning": meaning, "cause": entry.cause, "fix": entry.fix, "exit_code": exit_code}
        console.document(page)
        return
    console.answer("\n".join(_code_page(code, meaning, entry.cause, entry.fix, str(exit_code))))


def _code_page(code: str, meaning: str, cause: str, fix: str, exit_code: str) -> Iterator[str]:
    yield f"{paint(f'error[{code}]', 'error', sys.stdout)} (exit code {exit_code})"
    yield ""
    yield from console.fold_text(meaning, console.MAX_CHARS)
    for label, text in (("Cause", cause), ("Fix", fix)):
        yield ""
        yield paint(f"{label}:", "heading", sys.stdout)
        yield from (f"  {line}" for line in console.fold_text(text, console.MAX_CHARS, 2))
    address = console.page_address(code)
    if address:
        yield ""
        yield f"{paint('See:', 'heading', sys.stdout)} {link(address, address, sys.stdout)}"


@click.command(cls=ThemedCommand, hidden=True)
@common
def version(output: OutputOptions) -> None:
    """Print the version."""
    if output.as_json:
        console.document({"version": __version__, "python": platform.python_version()})
    else:
        console.answer(f"remote-runtime {__version__}")
