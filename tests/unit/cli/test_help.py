"""The `--help` pages are all the manual there is: whole sentences, nothing cut, and examples that would run."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import click
import pytest

from remote_runtime.cli import cli


def pages(command: click.Command, parent: click.Context | None = None) -> Iterator[click.Context]:
    # A command keeps the help option that its first context gave it.
    names = cli.context_settings["help_option_names"]
    context = click.Context(command, info_name=command.name, parent=parent, terminal_width=80, help_option_names=names)
    yield context
    if isinstance(command, click.Group):
        for each in command.commands.values():
            yield from pages(each, context)


PAGES = list(pages(cli))
EXAMPLES = [
    line.partition("  #")[0].strip()
    for context in PAGES
    for line in (context.command.epilog or "").splitlines()
    if line.startswith("remote-runtime ")
]


@pytest.mark.parametrize("context", PAGES, ids=lambda context: context.command_path)
def test_a_page_fits_a_terminal_and_says_all(context: click.Context) -> None:
    text = context.get_help()
    assert [line for line in text.splitlines() if len(line) > 80] == []
    _, _, listing = text.partition("\n\n")
    assert "..." not in listing.replace("[ARGS]...", "")
    first, _, _ = (context.command.help or "").partition("\n")
    assert first.endswith(".")
    for parameter in context.command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter
            assert parameter.help.endswith("."), parameter


def test_every_command_that_is_not_plain_has_examples() -> None:
    for context in PAGES:
        if not isinstance(context.command, click.Group) and len(context.command.params) > 6:
            assert "Examples:\n" in context.get_help(), context.command_path


SHORT_TEXTS = {
    **{context.command_path: context.command.get_short_help_str(1000) for context in PAGES},
    **{
        f"{context.command_path} {parameter.opts[0]}": parameter.help or ""
        for context in PAGES
        for parameter in context.command.get_params(context)
        if isinstance(parameter, click.Option)
    },
}


@pytest.mark.parametrize("name", list(SHORT_TEXTS)[1:])
def test_no_shell_cuts_what_it_shows_beside_a_name(name: str) -> None:
    """click ends the text of a command after 45 characters, and its script for fish cuts all texts at a comma."""
    assert 0 < len(SHORT_TEXTS[name]) <= 44
    assert "," not in SHORT_TEXTS[name]


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_is_understood(example: str) -> None:
    command: click.Command = cli
    words = shlex.split(example.partition(" >")[0])[1:]
    while isinstance(command, click.Group):
        command = command.commands[words.pop(0)]
    if [each.name for each in command.params][:1] == ["profile"] and not any(word[0] != "-" for word in words):
        words.insert(0, "my-vm")  # left out, as where one runtime is running
    command.make_context(command.name, words, parent=PAGES[0])
