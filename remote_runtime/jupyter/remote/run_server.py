"""Runs Jupyter with the bridge on the path of this process only; kernels and PYTHONPATH stay as the user has them.

``python boot.py KIND BRIDGE --config=FILE ARGS…``: KIND is ``notebook6`` or a ``server…``, BRIDGE the folder that
holds ``remote_runtime_bridge``, FILE the JSON configuration with the token.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import os
import re
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any, TextIO

# jsonschema imports it for a format that Jupyter's own schemas do not have. It builds a grammar when it is imported:
# 2 s of computing, three quarters of what it takes a server to start.
GRAMMAR_MODULE = "rfc3987_syntax"
ALIVE_INTERVAL_S = 20.0


class RedactingStream:
    """A stream that never shows the token: at debug level, and with every 500, Jupyter would print it."""

    def __init__(self, stream: TextIO, token: str) -> None:
        self._stream = stream
        self._tokens = [token]

    def hide(self, token: str) -> None:
        """Another one, which the server has from now on."""
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
    """From here on ``from NAME import FUNCTION`` imports nothing; the first call does, and so does any other name of
    it. Nothing changes where it is not installed."""
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


def lock_runtime_dir(folder: str) -> None:
    """While this process lives, systemd-tmpfiles cleans nothing in a folder below /tmp that is locked (tmpfiles.d(5)):
    a kernel whose socket is gone lives on and cannot be reached."""
    if sys.platform != "win32":
        import fcntl

        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(os.open(folder, os.O_RDONLY), fcntl.LOCK_SH | fcntl.LOCK_NB)


def touch_alive_file(path: str) -> None:
    """While this process lives, the time of this file is lately: other machines that share the folder see it."""

    def run() -> None:
        with contextlib.suppress(OSError):
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
        while True:
            with contextlib.suppress(OSError):  # the folder may be gone, or its disk
                os.utime(path)
            time.sleep(ALIVE_INTERVAL_S)

    threading.Thread(target=run, daemon=True, name="say-alive").start()


BASE = "jupyter_config"  # the file of all Jupyter applications, without its ending
# What of jupyter_config.* counts for the server itself: limits, and what its contents and kernels are managed by.
ALLOWED_TRAITS = frozenset(
    (
        "contents_manager_class", "iopub_data_rate_limit", "iopub_msg_rate_limit", "kernel_manager_class",
        "kernel_spec_manager_class", "limit_rate", "log_datefmt", "log_format", "log_level", "max_body_size",
        "max_buffer_size", "min_open_files_limit", "rate_limit_window", "terminals_enabled", "websocket_ping_interval",
        "websocket_ping_timeout",
    )
)  # fmt: skip
# Sections that reach the server's own traits, by the classes that it inherits from.
SERVER_SECTIONS = re.compile(
    r"ServerApp|NotebookApp|Jupyter(?:Async)?App|Application|\w*Configurable|HasTraits|HasDescriptors"
)
# Who may log in, who signs the kernels' messages, and who else runs the kernels: our configuration says that.
GUARDED_SECTIONS = re.compile(r"\w*(?:IdentityProvider|Authorizer|Authenticator|LoginHandler)|Session\w*|Gateway\w*")
# Where kernels listen, and which folder is shown.
PLACEMENT_TRAITS = frozenset(("ip", "transport", "connection_file", "root_dir")) | {
    name + "_port" for name in ("shell", "iopub", "stdin", "control", "hb")
}


def restricted_app(application: Any, ignored_file: str) -> Any:
    """``application`` (a ``JupyterApp``), so that of the user's settings only what neither guards nor moves the server
    counts (the rest is named in the file ``unused``), and each kernel finds the programs of its own environment.

    They come in two ways: JupyterApp reads ``jupyter_config.*``, and each extension passes on what it has read, that
    file once more and its own (``ExtensionApp._link_jupyter_server_extension``)."""
    from traitlets.config import Application

    class FilteringLoader(Application):
        """Between JupyterApp and Application: where the one asks the other to load a file."""

        left_out: set[str] = set()
        reading = ""
        own: Any = None  # the configuration when our own file has been read: what comes later is the user's

        def load_config_file(self, filename: str, path: Any = None) -> None:
            self.reading = filename
            super().load_config_file(filename, path)
            self.reading = ""
            if filename != BASE:
                # A copy: notebook_shim takes sections out of the configuration that it is given.
                self.own = deepcopy(self.config)

        def update_config(self, config: Any) -> None:
            if self.own is not None or self.reading == BASE:
                config = deepcopy(config)
                own = getattr(self, "cli_config", {}) if self.own is None else self.own
                left_out = remove_protected(config, own)
                if self.reading != BASE:  # an extension passes on which extensions there are: nobody has set that
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
    """Takes it out of ``config`` but for what is the same in ``own``, and answers what it was."""
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
    """From here on each kernel of the ``KernelSpecManager`` has the folder of its own Python first on its PATH, as in a
    shell where its environment is active: ``!pip install`` is to install where the kernel looks."""
    find = specs.get_kernel_spec

    def get_kernel_spec(name: str) -> Any:
        spec = find(name)
        program = spec.argv[0] if spec.argv else ""
        if re.fullmatch(r"python(?:3(?:\.\d+)?)?", program):
            program = sys.executable  # as jupyter_client's format_kernel_cmd has it
        programs = spec.metadata.get("remote_runtime_programs") or os.path.dirname(program)
        if os.path.isabs(programs):
            spec.env = {**activation_variables(programs, os.environ), **spec.env}
        return spec

    specs.get_kernel_spec = get_kernel_spec


def activation_variables(programs: str, env: Mapping[str, str]) -> dict[str, str]:
    """The variables of an environment whose programs are in that folder; ``${PATH}`` is put in by jupyter_client."""
    prefix = os.path.dirname(programs)
    found = {"PATH": programs + os.pathsep + "${PATH}"}
    if os.path.exists(os.path.join(prefix, "pyvenv.cfg")):
        found["VIRTUAL_ENV"] = prefix
    elif env.get("VIRTUAL_ENV"):
        found["VIRTUAL_ENV"] = ""  # of another one; uv takes the empty word for none
    if os.path.isdir(os.path.join(prefix, "conda-meta")):
        found["CONDA_PREFIX"] = prefix
    return found


def exit_origin(exit_: SystemExit) -> str:
    """Who called ``sys.exit``: the last file of the traceback that is of neither Jupyter, traitlets nor Python."""
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
    # The first entry is the folder of this file, where nothing may be imported from.
    sys.path[0] = bridge
    # For kernels, and not for us: a module of the user's must not take the place of one of Jupyter's.
    modules = os.environ.pop("RR_KERNELS_PYTHONPATH", "")
    if modules:
        os.environ["PYTHONPATH"] = modules
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
