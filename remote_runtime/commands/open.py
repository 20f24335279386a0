"""`open`: shows Colab's page, or the server's JupyterLab through an HTML file that only the user can read."""

from __future__ import annotations

import functools
import html
import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..core.deadline import Deadline, wait_until
from ..core.errors import DeadlinePassed, MachineError
from ..core.model import Runtime, Server
from ..core.private_file import write_private
from ..core.profile import COLAB_ORIGIN
from ..jupyter import health
from ..jupyter.server import page_host
from ..state import store
from ..state.ipc import uncounted_connector
from . import desktop
from .context import CommandContext
from .status import url as url_of

COLAB_URL = f"{COLAB_ORIGIN}/"
HEALTH_TIMEOUT_S = 15.0
BROWSER_TIMEOUT_S = 60.0
PRIVATE_PYTHONS = ("/remote-runtime/venv/bin/python", "\\remote-runtime\\venv\\Scripts\\python.exe")


def open_colab(name: str, context: CommandContext) -> str:
    """Open Colab's page; return the URL to paste there. Raises ``LocalError`` ``not-up`` or ``no-browser``."""
    desktop.check_browser(context.environ)
    url = url_of(name, context.state, context.environ)
    desktop.open_page(COLAB_URL, context.environ)
    return url


def open_lab(name: str, context: CommandContext) -> str:
    """Open the server's JupyterLab; return its URL without the token. Raises ``LocalError`` ``not-up``,
    ``MachineError`` ``lab-missing``, ``HealthError``, ``LocalError`` ``no-browser`` if there is a JupyterLab, and
    ``DeadlinePassed`` when no browser connected."""
    state, environ, view = context.state, context.environ, context.view
    url_of(name, state, environ)
    runtime = store.load(state, name)
    if runtime is None or runtime.server is None or runtime.local_port is None:
        raise ValueError(f"{name} was ready a moment ago")
    server = runtime.server
    attached = server if server.attached else None
    connect = functools.partial(uncounted_connector(name, state), runtime.local_port)
    endpoint = health.Endpoint(runtime.local_port, server.token, (health.NO_PAGE,), connect, attached=attached)
    if not health.has_page(endpoint, "/lab", Deadline(HEALTH_TIMEOUT_S)):
        raise _lab_missing_error(runtime, server)
    desktop.check_browser(environ)
    own_host = page_host(name)
    # A server of the user's own, or one that was started by an older version, does not know the name.
    is_known = attached is None and health.has_page(endpoint, "/lab", Deadline(HEALTH_TIMEOUT_S), host=own_host)
    hosts = [own_host, "localhost"] if is_known else ["localhost"]
    if runtime.local_host != "localhost":
        hosts = [runtime.local_host]  # another program has the port under the names
    view.step(name, "Waiting for the browser")
    with _redirect(runtime, hosts, state) as page:
        requests_before = _page_requests(endpoint, name)
        desktop.open_page(page.as_uri(), environ)
        _wait_for_browser(endpoint, requests_before, page)
    view.done(name)
    return _lab_url(runtime, hosts[0])


def _lab_missing_error(runtime: Runtime, server: Server) -> MachineError:
    python = server.interpreter
    restart = "`remote-runtime down PROFILE`, then `remote-runtime up PROFILE`"
    hint = f"On the machine: `{shlex.quote(python)} -m pip install jupyterlab`, then restart Jupyter: {restart}"
    if server.attached:
        hint = f"Install jupyterlab in {python}, then restart your server"
    elif python.endswith(PRIVATE_PYTHONS):
        hint = f"Restart Jupyter, which installs JupyterLab: {restart} (with `jupyter.lab: auto`)"
    why = f"GET /lab on {python}'s Jupyter returned no page"
    return MachineError("lab-missing", f"JupyterLab is not installed on {runtime.name}", why, hint)


def _page_requests(endpoint: health.Endpoint, name: str) -> int:
    """The requests counted by the bridge. Raises ``MachineError`` ``attach-unfit`` without a bridge: it is unknown
    when to remove the page with the token."""
    requests = health.read_usage(endpoint, Deadline(HEALTH_TIMEOUT_S)).page_requests
    if requests is None:
        raise MachineError(
            "attach-unfit",
            f"Can't open JupyterLab of {name}",
            "your server has no bridge, which counts requests of browsers",
            "Get the URL, and put /lab before its ?: `remote-runtime url PROFILE`",
        )
    return requests


def _wait_for_browser(endpoint: health.Endpoint, requests_before: int, page: Path) -> None:
    try:
        wait_until(
            lambda: _page_requests(endpoint, "") > requests_before,
            Deadline(BROWSER_TIMEOUT_S),
            every_s=0.25,
            what="the browser",
        )
    except DeadlinePassed as error:
        raise DeadlinePassed(
            "No browser opened JupyterLab",
            f"no browser read {page} in {BROWSER_TIMEOUT_S:.0f} s; a sandboxed browser can't read it",
            "Get the URL, and put /lab before its ?: `remote-runtime url PROFILE`",
        ) from error


@contextmanager
def _redirect(runtime: Runtime, hosts: list[str], state: store.StateDir) -> Iterator[Path]:
    """While the block lasts, a page (0600) that redirects to JupyterLab with the token. It uses the first of ``hosts``
    that the browser can resolve: Safari before 26 resolves no names below ``localhost``."""
    token = "" if runtime.server is None else runtime.server.token.reveal()
    first, last = (f"{_lab_url(runtime, host)}?token={token}" for host in (hosts[0], hosts[-1]))
    target = html.escape(last, quote=True)
    script = (
        "const go = (to) => location.replace(to); "
        f"fetch({_js_string(_lab_url(runtime, hosts[0]))}, {{mode: 'no-cors'}})"
        f".then(() => go({_js_string(first)}), () => go({_js_string(last)}));"
    )
    text = (
        '<!doctype html><meta charset="utf-8"><meta name="referrer" content="no-referrer"><title>JupyterLab</title>'
        f"<script>{script}</script>"
        f'<noscript><meta http-equiv="refresh" content="0;url={target}"></noscript>'
        f'<p>JupyterLab is <a href="{target}">here</a>.</p>\n'
    )
    page = state.file_path(runtime.name, "html")
    write_private(page, text.encode())
    try:
        yield page
    finally:
        page.unlink(missing_ok=True)


def _js_string(text: str) -> str:
    """A JavaScript string literal inside an HTML page."""
    return json.dumps(text).replace("<", "\\u003c")


def _lab_url(runtime: Runtime, host: str) -> str:
    return f"http://{host}:{runtime.local_port}/lab"
