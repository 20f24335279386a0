"""`open`."""

from __future__ import annotations

import click

from ..core.errors import LocalError, RemoteRuntimeError, UsageError
from .common import OutputOptions, common, copy_url, handle_signals, name_of
from .completion import profile_names
from .default_name import runtime_argument
from .group import ThemedCommand, examples
from .output import console
from .output.ready import paste_instructions


@click.command(
    cls=ThemedCommand,
    name="open",
    epilog=examples("open", "open my-vm --copy", "open my-vm --lab", "open --code my-vm project"),
)
@runtime_argument(profile_names)
@click.argument("path", required=False)
@click.option("--code", is_flag=True, help="Open PATH on the machine in VS Code.")
@click.option("--lab", is_flag=True, help="Open JupyterLab on the machine instead.")
@click.option("--copy", is_flag=True, help="Copy the URL to the clipboard.")
@common
def open_(profile: str, path: str | None, code: bool, lab: bool, copy: bool, output: OutputOptions) -> int:
    """Open Colab in a browser and print the URL.

    You can leave PROFILE out while one runtime is running.

    --code opens a folder of the machine in VS Code. It requires the extension Remote-SSH, and `ssh-config --install`.
    PATH is absolute or relative to the home folder there; without it the working directory of the profile opens.
    """
    if code:
        return _open_code(profile, path, output, excluded=lab or copy)
    if path is not None:
        raise UsageError("usage", "PATH requires --code")
    from ..commands.open import COLAB_URL, open_colab, open_lab
    from ..commands.status import url as url_of

    handle_signals("SIGHUP")
    name, context = name_of(profile), output.context()
    url = url_of(name, context.state, context.environ)
    errors: dict[str, RemoteRuntimeError] = copy_url(url, output) if copy else {}
    opened: str | None
    try:
        shown_url = open_lab(name, context) if lab else open_colab(name, context)
        opened = shown_url if lab else COLAB_URL
    except BaseException as error:
        context.view.failed(name)
        if not isinstance(error, LocalError) or error.code != "no-browser":
            raise
        # The user may sit at another computer, so print what they need there.
        shown_url, opened = (url.replace("/?", "/lab?", 1) if lab else url), None
        page = "the URL above" if lab else COLAB_URL
        hint = f"Open {page} in a browser on this computer, or set BROWSER to the command of a browser"
        errors["open"] = LocalError(error.code, error.what, error.why, hint)
    finally:
        context.view.pause()

    def show() -> None:
        if not output.quiet and not lab:
            paste_instructions()
        console.answer(shown_url)

    return output.finish({"name": name, "url": shown_url, "opened": opened}, errors, show)


def _open_code(profile: str, path: str | None, output: OutputOptions, *, excluded: bool) -> int:
    from ..commands import desktop
    from ..commands.context import run_parallel
    from ..commands.open_code import code_url
    from ..commands.profile_reference import load_profile

    if excluded:
        raise UsageError("usage", "--code excludes --lab and --copy")
    context = output.context(transient=True)

    def find() -> str:
        loaded = load_profile(profile, context)
        return code_url(loaded, path or loaded.jupyter.working_dir, context)

    url = run_parallel({profile: find}, context)[profile]
    if isinstance(url, Exception):
        raise url
    errors: dict[str, RemoteRuntimeError] = {}
    try:
        desktop.open_page(url, context.environ)
    except LocalError as error:
        error.hint = "Open the URL above on a computer with VS Code"
        errors["open"] = error
    document = {"name": name_of(profile), "url": url, "opened": None if errors else url}
    return output.finish(document, errors, lambda: console.answer(url))
