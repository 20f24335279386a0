"""`bridge`."""

from __future__ import annotations

from dataclasses import asdict

import click

from .. import render
from .common import F, common
from .complete import files


@click.group()
def bridge() -> None:
    """The bridge in an environment's own Jupyter: the local-runtime recipe, and its undo."""


def _environment(command: F) -> F:
    python = click.option(
        "--python", metavar="PATH", shell_complete=files, help="The environment's interpreter; default: the one in use."
    )
    return python(common(command))


@bridge.command()
@_environment
def enable(python: str | None, quiet: bool, verbose: bool, as_json: bool) -> None:
    """Copy the bridge into the environment and switch it on."""
    from .. import environments

    done = environments.enable(python or environments.default_python())
    render.bridge("enabled", asdict(done), as_json=as_json, quiet=quiet)


@bridge.command()
@_environment
def disable(python: str | None, quiet: bool, verbose: bool, as_json: bool) -> None:
    """Take away what `enable` put there."""
    from .. import environments

    done = environments.disable(python or environments.default_python())
    render.bridge("disabled", asdict(done), as_json=as_json, quiet=quiet)


@bridge.command(name="status")
@_environment
@click.option("--url", "address", metavar="URL", help="Ask this server instead of those that run here.")
def bridge_status(python: str | None, address: str | None, quiet: bool, verbose: bool, as_json: bool) -> None:
    """Whether it is there, and which running servers have it loaded."""
    from .. import environments

    seen = environments.status(python or environments.default_python(), address)
    render.bridge("status", asdict(seen), as_json=as_json, quiet=quiet)
