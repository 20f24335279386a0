"""``-q``, ``-v`` and ``--json``, before or after the name of a command."""

from __future__ import annotations

import click

FLAGS = (
    (("-q", "--quiet"), "Print only results and errors."),
    (("-v", "--verbose"), "Print detailed progress."),
    (("--json", "as_json"), "Print the result as JSON."),
)
_GIVEN = f"{__name__}.given"  # in the ``meta`` that a context shares with its parents


def flag_options() -> list[click.Option]:
    """For a group or a command."""
    return [
        click.Option(names, is_flag=True, expose_value=False, callback=_collect, help=text) for names, text in FLAGS
    ]


def given_flags(context: click.Context) -> set[str]:
    """Those of ``quiet``, ``verbose`` and ``as_json`` that were given to the command of ``context`` and its groups."""
    given: set[str] = context.meta.setdefault(_GIVEN, set())
    return given


def _collect(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value and parameter.name:
        given_flags(context).add(parameter.name)
