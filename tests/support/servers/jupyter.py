"""A real Jupyter server in a process of its own, with its own HOME, for the tests of everything that meets one."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from remote_runtime.jupyter.remote.run_server import GRAMMAR_MODULE

REPOSITORY = Path(__file__).resolve().parents[3]
BRIDGE = REPOSITORY / "remote_runtime" / "bridge"
COLAB_ORIGIN = "https://colab.research.google.com"
START_LIMIT_S = 60.0
STOP_LIMIT_S = 20.0


class JupyterServer:
    """Starts at ``with``; ``.url``, ``.port``, ``.token``, ``.pid``, ``.home`` and ``.root_dir`` hold from then on.

    ``python``: the interpreter whose Jupyter is started; with another one than ours the bridge is copied beside it as
    ``remote_runtime_bridge``, as it is on a machine. ``classic``: notebook 6's own server instead of jupyter_server.
    ``extra_config``: traits by class, over ours: ``{"ServerApp": {"max_body_size": 1000}}``; None unsets ours.
    Notebook 6 is given what is meant for ServerApp.
    ``extensions``: further server extensions to enable, importable from ``python_path``.
    """

    def __init__(
        self,
        *,
        bridge: bool = True,
        python: str = sys.executable,
        extra_config: Mapping[str, Mapping[str, Any]] | None = None,
        root_dir: Path | None = None,
        classic: bool = False,
        extensions: tuple[str, ...] = (),
        python_path: tuple[Path, ...] = (),
    ) -> None:
        self.token = secrets.token_hex(24)
        self._bridge = bridge
        self._python = python
        self._extra_config = extra_config or {}
        self._classic = classic
        self._extensions = extensions
        self._python_path = python_path
        self._given_root_dir = root_dir
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def __enter__(self) -> JupyterServer:
        self.home = Path(tempfile.mkdtemp(prefix="jupyter-home-"))
        self.root_dir = self._given_root_dir or self.home / "work"
        self.root_dir.mkdir(exist_ok=True)
        self._log_file = self.home / "server.log"
        self.runtime_dir = self.home / "runtime"
        self._write_config(self.home / "config")
        module = "notebook" if self._classic else "jupyter_server"
        with self._log_file.open("wb") as log:
            self._process = subprocess.Popen(
                [self._python, "-m", module],
                env=self._environment(),
                cwd=self.root_dir,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            self.port = self._wait_for_port()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(STOP_LIMIT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(STOP_LIMIT_S)
            self._process = None
        shutil.rmtree(self.home, ignore_errors=True)

    @property
    def pid(self) -> int:
        assert self._process is not None, "the server runs only inside the with block"
        return self._process.pid

    @property
    def base(self) -> str:
        """``http://127.0.0.1:PORT``, without the token."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """What a person pastes into Colab."""
        return f"{self.base}/?token={self.token}"

    @property
    def runtime_file(self) -> Path:
        """Jupyter's own description of the running server."""
        name = "nbserver" if self._classic else "jpserver"
        return self.runtime_dir / f"{name}-{self.pid}.json"

    def log_text(self) -> str:
        return self._log_file.read_text(errors="replace")

    def _write_config(self, directory: Path) -> None:
        directory.mkdir()
        config = {name: dict(traits) for name, traits in self._config().items()}
        for name, traits in self._extra_config.items():
            name = "NotebookApp" if self._classic and name == "ServerApp" else name
            merged = {**config.get(name, {}), **traits}
            config[name] = {trait: value for trait, value in merged.items() if value is not None}
        name = "jupyter_notebook_config.json" if self._classic else "jupyter_server_config.json"
        with os.fdopen(os.open(directory / name, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            json.dump(config, file)

    def _config(self) -> dict[str, dict[str, Any]]:
        app = {
            "ip": "127.0.0.1",
            "port": 0,
            "port_retries": 0,
            "open_browser": False,
            "allow_root": True,
            "allow_origin": COLAB_ORIGIN,
            "allow_credentials": True,
            "token": self.token,
            "log_level": 10,
        }
        names = [*([self._bridge_module()] if self._bridge else []), *self._extensions]
        enabled = dict.fromkeys(names, True)
        if self._classic:
            return {"NotebookApp": {**app, "notebook_dir": str(self.root_dir), "nbserver_extensions": enabled}}
        server = {**app, "root_dir": str(self.root_dir), "jpserver_extensions": enabled}
        return {"ServerApp": server, "IdentityProvider": {"token": self.token}}

    def _bridge_module(self) -> str:
        return "remote_runtime.bridge" if self._python == sys.executable else "remote_runtime_bridge"

    def _environment(self) -> dict[str, str]:
        copies = self.home / "modules"
        copies.mkdir()
        # As if it were not installed: its grammar takes longer to build than all else that a server does to start.
        (copies / f"{GRAMMAR_MODULE}.py").write_text("raise ImportError")
        if self._bridge and self._python != sys.executable:
            shutil.copytree(BRIDGE, copies / "remote_runtime_bridge", ignore=shutil.ignore_patterns("__pycache__"))
        paths = [copies, *self._python_path]
        if self._python == sys.executable:
            paths.append(REPOSITORY)
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
        return {
            **kept,
            "HOME": str(self.home),
            "JUPYTER_CONFIG_DIR": str(self.home / "config"),
            "JUPYTER_DATA_DIR": str(self.home / "data"),
            "JUPYTER_RUNTIME_DIR": str(self.runtime_dir),
            "IPYTHONDIR": str(self.home / "ipython"),
            "PYTHONPATH": os.pathsep.join(str(path) for path in paths),
            "PYTHONUNBUFFERED": "1",
        }

    def _wait_for_port(self) -> int:
        assert self._process is not None
        end = time.monotonic() + START_LIMIT_S
        while time.monotonic() < end:
            if self._process.poll() is not None:
                raise AssertionError(f"Jupyter ended while starting:\n{self.log_text()}")
            with suppress(OSError, ValueError, KeyError):
                # Notebook 6 writes down the 0 that it was asked for, and others write before they listen.
                port = int(json.loads(self.runtime_file.read_text())["port"]) or self._listening_port()
                if port:
                    socket.create_connection(("127.0.0.1", port), timeout=START_LIMIT_S).close()
                    return port
            time.sleep(0.05)
        raise AssertionError(f"Jupyter was not up after {START_LIMIT_S:.0f} s:\n{self.log_text()}")

    def _listening_port(self) -> int:
        import psutil

        for connection in psutil.Process(self.pid).net_connections(kind="inet4"):
            if connection.status == psutil.CONN_LISTEN:
                return int(connection.laddr.port)
        return 0


@contextmanager
def jupyter_server(**wanted: Any) -> Iterator[JupyterServer]:
    """``JupyterServer(**wanted)``, for fixtures that only yield it."""
    with JupyterServer(**wanted) as server:
        yield server
