"""`open`."""

from __future__ import annotations

import os

import click

from ..core.errors import LocalError, RemoteRuntimeError
from .common import common, copy_url, error_document, examples, exit_code_of, handle_signals, name_of, state, terminal
from .completion import live_names
from .output import console


@click.command(name="open", epilog=examples("open my-vm --copy", "open my-vm --lab"))
@click.argument("profile", shell_complete=live_names)
@click.option("--lab", is_flag=True, help="The server's own JupyterLab instead, where it has one.")
@click.option("--copy", is_flag=True, help="Put the URL to paste on the clipboard.")
@common
def open_(profile: str, lab: bool, copy: bool, quiet: bool, verbose: bool, as_json: bool) -> int:
    """Show Colab's page in the browser, and print the URL."""
    from ..commands.open import COLAB_URL, open_colab, open_lab
    from ..commands.status import url as url_of

    handle_signals("SIGHUP")
    name, state_dir, environ = name_of(profile), state(), dict(os.environ)
    view = terminal(quiet, verbose, as_json)
    url = url_of(name, state_dir, environ)
    errors: dict[str, RemoteRuntimeError] = {}
    if copy:
        errors |= copy_url(url, environ, quiet=quiet or as_json)
    try:
        shown_url = open_lab(name, state_dir, environ, view) if lab else open_colab(name, state_dir, environ)
        opened = shown_url if lab else COLAB_URL
    except LocalError as error:
        view.failed(name)
        if error.code != "no-browser":
            raise
        # Somebody may sit at another screen: what they need there is printed.
        shown_url, opened = (url.replace("/?", "/lab?", 1) if lab else url), None
        hint = f"Open {'the URL above' if lab else COLAB_URL} in a browser on this computer; BROWSER names one"
        errors["open"] = LocalError(error.code, error.what, error.why, hint)
    except BaseException:
        view.failed(name)
        raise
    finally:
        view.pause()
    if as_json:
        console.document({"name": name, "url": shown_url, "opened": opened, **error_document(errors, as_json=True)})
        return exit_code_of(errors)
    if not quiet and not lab:
        console.paste_instructions()
    console.answer(shown_url)
    error_document(errors, as_json=False)
    return exit_code_of(errors)
