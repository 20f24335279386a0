"""`bridge`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from .common import F, OutputOptions, common
from .completion import files
from .group import OrderedGroup, examples
from .output import console


@click.group(cls=OrderedGroup)
def bridge() -> None:
    """Manage the extension in your own Jupyter.

    For a Jupyter server that you start yourself. Runtimes that `up` starts have the extension.
    """


def _environment(command: F) -> F:
    python = click.option("--python", metavar="PATH", shell_complete=files, help="Python of the environment.")
    return python(common(command))


@bridge.command(
    epilog=examples(
        "bridge enable",
        "bridge enable --python ~/venvs/torch/bin/python",
    )
)
@_environment
def enable(python: str | None, output: OutputOptions) -> None:
    """Install and enable the extension."""
    from ..jupyter import extension

    done = extension.enable(python or extension.default_python())
    _show("enabled", asdict(done), output)


@bridge.command()
@_environment
def disable(python: str | None, output: OutputOptions) -> None:
    """Disable and remove the extension."""
    from ..jupyter import extension

    done = extension.disable(python or extension.default_python())
    _show("disabled", asdict(done), output)


@bridge.command(name="status")
@_environment
@click.option("--url", "address", metavar="URL", help="Check only this server.")
def bridge_status(python: str | None, address: str | None, output: OutputOptions) -> None:
    """Show which servers have the extension."""
    from ..jupyter import extension

    seen = extension.status(python or extension.default_python(), address)
    _show("status", asdict(seen), output)


def _show(done: str, seen: dict[str, Any], output: OutputOptions) -> None:
    from .output import bridge as words

    if output.as_json:
        console.document({"bridge": seen, "done": done})
        return
    show = {"enabled": words.enabled, "disabled": words.disabled, "status": words.status}[done]
    show(seen, quiet=output.quiet)
