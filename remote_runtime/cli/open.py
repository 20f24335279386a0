"""`open`."""

from __future__ import annotations

import os

import click

from ..core.errors import LocalError, RemoteRuntimeError
from . import output
from .common import common, copied, hear_the_end, name_of, state, terminal, told, worst
from .completion import live_names
from .pages import examples


@click.command(name="open", epilog=examples("open my-vm --copy", "open my-vm --lab"))
@click.argument("profile", shell_complete=live_names)
@click.option("--lab", is_flag=True, help="The server's own JupyterLab instead, where it has one.")
@click.option("--copy", is_flag=True, help="Put the URL to paste on the clipboard.")
@common
def open_(profile: str, lab: bool, copy: bool, quiet: bool, verbose: bool, as_json: bool) -> int:
    """Show Colab's page in the browser, and print the URL."""
    from ..commands.open import COLAB, open_colab, open_lab
    from ..commands.status import url as url_of

    hear_the_end("SIGHUP")
    name, where, environ = name_of(profile), state(), dict(os.environ)
    view = terminal(quiet, verbose, as_json)
    url = url_of(name, where, environ)
    errors: dict[str, RemoteRuntimeError] = {}
    if copy:
        errors |= copied(url, environ, quiet=quiet or as_json)
    try:
        found = open_lab(name, where, environ, view) if lab else open_colab(name, where, environ)
        opened = found if lab else COLAB
    except LocalError as error:
        view.failed(name)
        if error.code != "no-browser":
            raise
        # Somebody may sit at another screen: what they need there is printed.
        found, opened = (url.replace("/?", "/lab?", 1) if lab else url), None
        next_ = f"Open {'the URL above' if lab else COLAB} in a browser on this computer; BROWSER names one"
        errors["open"] = LocalError(error.code, error.what, error.why, next_)
    except BaseException:
        view.failed(name)
        raise
    finally:
        view.pause()
    if as_json:
        output.document({"name": name, "url": found, "opened": opened, **told(errors, as_json=True)})
        return worst(errors)
    if not quiet and not lab:
        output.to_paste()
    output.answer(found)
    told(errors, as_json=False)
    return worst(errors)
