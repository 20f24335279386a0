"""`open`."""

from __future__ import annotations

import click

from ..core.errors import LocalError, RemoteRuntimeError
from .common import OutputOptions, common, copy_url, handle_signals, name_of
from .default_name import runtime_argument
from .group import ThemedCommand, examples
from .output import console
from .output.ready import paste_instructions


@click.command(cls=ThemedCommand, name="open", epilog=examples("open", "open my-vm --copy", "open my-vm --lab"))
@runtime_argument()
@click.option("--lab", is_flag=True, help="Open JupyterLab on the machine instead.")
@click.option("--copy", is_flag=True, help="Copy the URL to the clipboard.")
@common
def open_(profile: str, lab: bool, copy: bool, output: OutputOptions) -> int:
    """Open Colab in a browser and print the URL.

    You can leave PROFILE out while one runtime is running.
    """
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
