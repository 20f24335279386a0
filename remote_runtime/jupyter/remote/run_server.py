"""Runs Jupyter with the bridge on the path of this process only: kernels, and their PYTHONPATH, are not changed.

``python boot.py KIND BRIDGE --config=FILE ARGS…`` (the name of this file on the machine): KIND is ``notebook6`` or
``server…``, BRIDGE the folder of ``remote_runtime_bridge``, FILE the JSON configuration with the token.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import importlib.util
import json
import logging
import os
import re
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any, TextIO

# jsonschema imports this module for the formats iri and iri-reference, which no schema of Jupyter's has. It builds its
# grammars when it is imported: 2 s, three quarters of a server's start. Remove import_lazily when jsonschema imports it
# late, or uses a package that does: https://github.com/python-jsonschema/jsonschema/issues/1428
GRAMMAR_MODULE = "rfc3987_syntax"
ALIVE_INTERVAL_S = 60.0  # a third of `host.ALIVE_TIMEOUT_S`
PING_WARNING = "The websocket_ping_timeout (90000) cannot be longer than the websocket_ping_interval (30000)"


class RedactingStream:
    """A stream that hides the token: Jupyter prints it at debug level, and with every status 500."""

    def __init__(self, stream: TextIO, token: str) -> None:
        self._stream = stream
        self._tokens = [token]

    def hide(self, token: str) -> None:
        """Hides a further token: the server's new one."""
        self._tokens.append(token)

    def write(self, text: str) -> int:
        for token in self._tokens:
            text = text.replace(token, "[token]")
        return self._stream.write(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def import_lazily(name: str, function: str) -> None:
    """Puts a module into ``sys.modules`` in the place of NAME: ``from NAME import FUNCTION`` imports nothing, and the
    first call of the function, or the use of any other attribute, imports the real module. No effect if it is not
    installed."""
    if name in sys.modules or (spec := importlib.util.find_spec(name)) is None:
        return
    stand_in = importlib.util.module_from_spec(spec)

    def find(wanted: str) -> Any:
        if sys.modules.get(name) is stand_in:
            del sys.modules[name]
        return getattr(importlib.import_module(name), wanted)

    def call(*args: Any, **kwargs: Any) -> Any:
        return find(function)(*args, **kwargs)

    vars(stand_in).update({"__getattr__": find, function: call})
    sys.modules[name] = stand_in


def hide_ping_warning() -> None:
    """jupyter_server's WebSocket classes give tornado their ping times in milliseconds: tornado pings never, warns of
    the timeout at each start, and Jupyter pings by itself."""
    logging.getLogger("tornado.general").addFilter(lambda record: PING_WARNING not in record.getMessage())


def lock_runtime_dir(folder: str) -> None:
    """While this process runs, systemd-tmpfiles removes nothing from this folder below /tmp, because it is locked
    (tmpfiles.d(5)): a kernel without its socket runs on, and cannot be reached."""
    if sys.platform != "win32":
        import fcntl

        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(os.open(folder, os.O_RDONLY), fcntl.LOCK_SH | fcntl.LOCK_NB)


def touch_alive_file(path: str) -> None:
    """Touches the file while this process runs: other machines that share the folder see from it that the server
    lives."""

    def run() -> None:
        with contextlib.suppress(OSError):
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
        while True:
            with contextlib.suppress(OSError):  # the folder may be gone, or its disk
                os.utime(path)
            time.sleep(ALIVE_INTERVAL_S)

    threading.Thread(target=run, daemon=True, name="touch-alive-file").start()


BASE = "jupyter_config"  # the file of all Jupyter applications, without its ending
# The traits of jupyter_config.* that apply to the server itself: limits, logging, managers of contents and kernels.
ALLOWED_TRAITS = frozenset(
    (
        "contents_manager_class", "iopub_data_rate_limit", "iopub_msg_rate_limit", "kernel_manager_class",
        "kernel_spec_manager_class", "limit_rate", "log_datefmt", "log_format", "log_level", "max_body_size",
        "max_buffer_size", "min_open_files_limit", "rate_limit_window", "terminals_enabled", "websocket_ping_interval",
        "websocket_ping_timeout",
    )
)  # fmt: skip
# Sections that set the server's own traits, by the classes that it inherits from.
SERVER_SECTIONS = re.compile(
    r"ServerApp|NotebookApp|Jupyter(?:Async)?App|Application|\w*Configurable|HasTraits|HasDescriptors"
)
# Sections that decide who may log in, who signs the kernels' messages, and who runs the kernels.
GUARDED_SECTIONS = re.compile(r"\w*(?:IdentityProvider|Authorizer|Authenticator|LoginHandler)|Session\w*|Gateway\w*")
# Traits that decide where kernels listen, and which folder is served.
PLACEMENT_TRAITS = frozenset(("ip", "transport", "connection_file", "root_dir")) | {
    name + "_port" for name in ("shell", "iopub", "stdin", "control", "hb")
}


def restricted_app(application: Any, ignored_file: str) -> Any:
    """A subclass of ``application``, a ``JupyterApp``, that ignores the user's settings of access and addresses (their
    names are written to ``ignored_file``), and whose kernels find the programs of their own environment.

    The user's settings arrive in two ways: JupyterApp reads ``jupyter_config.*``; each extension reads that file again,
    and its own, and passes both on (``ExtensionApp._link_jupyter_server_extension``)."""
    from traitlets.config import Application

    class FilteringLoader(Application):
        """Between JupyterApp and Application in the method resolution order: it sees each file that is loaded."""

        left_out: set[str] = set()
        reading = ""
        own: Any = None  # the configuration once the server's own file is read; all later ones are the user's

        def load_config_file(self, filename: str, path: Any = None) -> None:
            self.reading = filename
            super().load_config_file(filename, path)
            self.reading = ""
            if filename != BASE:
                # A copy: notebook_shim removes sections from the configuration that it gets.
                self.own = deepcopy(self.config)

        def update_config(self, config: Any) -> None:
            if self.own is not None or self.reading == BASE:
                config = deepcopy(config)
                own = getattr(self, "cli_config", {}) if self.own is None else self.own
                left_out = remove_protected(config, own)
                if self.reading != BASE:  # extensions also pass on the list of extensions, which the user did not set
                    left_out = {name for name in left_out if not name.endswith("server_extensions")}
                if not left_out <= self.left_out:
                    self.left_out = self.left_out | left_out
                    files = [path for path in self._loaded_config_files if BASE + "." in path]
                    write_json(ignored_file, {"traits": sorted(self.left_out), "files": files})
            super().update_config(config)

    class RestrictedApp(application, FilteringLoader):  # type: ignore[misc]  # which of them is known when it runs
        def init_configurables(self) -> None:
            super().init_configurables()
            activate_kernel_environments(self.kernel_spec_manager)

    RestrictedApp.__name__ = application.__name__  # its section of the configuration
    return RestrictedApp


def remove_protected(config: Any, own_config: Any) -> set[str]:
    """Removes protected traits from ``config`` unless ``own_config`` has the same value; returns their names."""
    left_out = set()
    for section in [name for name, value in config.items() if isinstance(value, dict)]:
        for trait, value in list(config[section].items()):
            server = SERVER_SECTIONS.fullmatch(section) and trait not in ALLOWED_TRAITS
            protected = (
                server
                or GUARDED_SECTIONS.fullmatch(section)
                or (trait in PLACEMENT_TRAITS and section.endswith(("Manager", "Mixin")))
            )
            if protected and not (
                section in own_config and trait in own_config[section] and own_config[section][trait] == value
            ):
                del config[section][trait]
                left_out.add(section + "." + trait)
    return left_out


def write_json(path: str, content: Any) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump(content, file)


def activate_kernel_environments(specs: Any) -> None:
    """Each kernel of the ``KernelSpecManager`` gets its Python's folder first on the PATH, as in a shell with an active
    environment, so that ``!pip install`` installs into the kernel's environment."""
    find = specs.get_kernel_spec

    def get_kernel_spec(name: str) -> Any:
        spec = find(name)
        if "remote_runtime_environment" in spec.metadata:
            return spec  # it activates its environment by itself
        program = spec.argv[0] if spec.argv else ""
        if re.fullmatch(r"python(?:3(?:\.\d+)?)?", program):
            program = sys.executable  # as in jupyter_client's format_kernel_cmd
        programs = spec.metadata.get("remote_runtime_programs") or os.path.dirname(program)
        if os.path.isabs(programs):
            spec.env = {**activation_variables(programs, os.environ), **spec.env}
        return spec

    specs.get_kernel_spec = get_kernel_spec


def activation_variables(programs: str, env: Mapping[str, str]) -> dict[str, str]:
    """The variables of the environment with this programs folder; jupyter_client substitutes ``${PATH}``."""
    prefix = os.path.dirname(programs)
    found = {"PATH": programs + os.pathsep + "${PATH}"}
    if os.path.exists(os.path.join(prefix, "pyvenv.cfg")):
        found["VIRTUAL_ENV"] = prefix
    elif env.get("VIRTUAL_ENV"):
        found["VIRTUAL_ENV"] = ""  # of another environment; uv takes an empty value for none
    if os.path.isdir(os.path.join(prefix, "conda-meta")):
        found["CONDA_PREFIX"] = prefix
    return found


def exit_origin(exit_: SystemExit) -> str:
    """The caller of ``sys.exit``: the last file of the traceback that is not Jupyter's, traitlets' or Python's."""
    trace = exit_.__traceback__
    found = ""
    while trace is not None:
        name = str(trace.tb_frame.f_globals.get("__name__", ""))
        if name.partition(".")[0] not in OWN_MODULES:
            found = f"{name} ({trace.tb_frame.f_code.co_filename}, line {trace.tb_lineno})"
        trace = trace.tb_next
    return found


OWN_MODULES = (
    "__main__", "jupyter_server", "notebook", "jupyter_core", "traitlets", "tornado", "asyncio", "runpy", "importlib",
)  # fmt: skip


def main() -> None:
    kind, bridge = sys.argv[1:3]
    del sys.argv[1:3]
    path = sys.argv[1][len("--config=") :]
    with open(path, encoding="utf-8") as handle:
        sections = json.load(handle)
    token = next(section["token"] for section in sections.values() if section.get("token"))
    streams: Any = [RedactingStream(stream, token) for stream in (sys.stdout, sys.stderr)]
    sys.stdout, sys.stderr = streams
    lock_runtime_dir(os.environ["JUPYTER_RUNTIME_DIR"])
    touch_alive_file(os.path.join(os.path.dirname(path), "alive"))
    # Replaces the folder of this file, from which nothing must be imported.
    sys.path[0] = bridge
    # For kernels only: the user's modules must not shadow Jupyter's.
    modules = os.environ.pop("RR_KERNELS_PYTHONPATH", "")
    if modules:
        os.environ["PYTHONPATH"] = modules
    hide_ping_warning()
    gc.set_threshold(20_000, 50)  # importing makes no garbage: with 700, a quarter of a start goes to looking for it
    import_lazily(GRAMMAR_MODULE, "is_valid_syntax")
    if kind == "notebook6":
        from notebook.notebookapp import NotebookApp as App
    else:
        from jupyter_server.serverapp import ServerApp as App
    try:
        restricted_app(App, os.path.join(os.path.dirname(path), "unused.json")).launch_instance()
    except SystemExit as exit_:
        origin = exit_origin(exit_)
        if origin:
            sys.stderr.write(f"Jupyter was ended by sys.exit({exit_.code!r}) in {origin}\n")
            if not exit_.code:
                raise SystemExit(1) from exit_
        raise


if __name__ == "__main__":
    main()
