"""`bridge enable`, `disable` and `status` on an environment's own Jupyter, which is then started as its owner does."""

from __future__ import annotations

import http.server
import json
import os
import socket
import sys
import sysconfig
import threading
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from remote_runtime.core.errors import MachineError, UsageError
from remote_runtime.jupyter import extension
from tests.support.clients.bridge_client import http_request, open_page
from tests.support.servers.echo_servers import Target
from tests.support.servers.jupyter import COLAB_ORIGIN, JupyterServer

TOKEN = "a-token-that-nobody-else-may-see"


@pytest.fixture
def python(tmp_path: Path) -> str:
    """The interpreter of an environment of its own that has our Jupyter, as pip would have put it there."""
    venv.create(tmp_path / "env", with_pip=False, symlinks=True)
    site = tmp_path / "env" / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    (site / "jupyter.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return str(tmp_path / "env" / "bin" / "python")


def everything(python: str) -> dict[str, bytes | None]:
    root = Path(python).parents[1]
    found = (path for path in root.rglob("*") if "__pycache__" not in path.parts)
    return {str(path.relative_to(root)): path.read_bytes() if path.is_file() else None for path in found}


def test_enable_lets_the_environments_own_jupyter_load_the_bridge_and_status_sees_it(
    python: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert extension.status(python).installed is None
    with JupyterServer(python=python, bridge=False) as before:
        monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(before.runtime_dir))
        (seen,) = extension.status(python).servers
        assert (seen.loaded, seen.pid, seen.origins) == (False, before.pid, ())
        assert before.token not in before.log_text()
    done = extension.enable(python)
    assert done.changed
    with JupyterServer(python=python, bridge=False) as server:
        with open_page(server) as page:
            assert page.request("GET", "/api/kernelspecs").status == 200
        monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(server.runtime_dir))
        found = extension.status(python)
        assert (found.installed, found.enabled) == (done.version, True)
        assert found.jupyter_server is not None
        (seen,) = found.servers
        assert (seen.loaded, seen.bridge, seen.origins) == (True, "0.1.0", (COLAB_ORIGIN,))
        assert extension.status(python, server.url).servers[0].origins == (COLAB_ORIGIN,)
        without_token = extension.status(python, server.base).servers[0]
        assert (without_token.loaded, without_token.origins) == (True, ())
        assert http_request(server, "GET", "/api/remote-runtime", token="wrong").status == 403
        assert all(server.token not in repr(each) for each in (found, without_token))


def test_enable_twice_changes_nothing_and_disable_leaves_nothing(python: str) -> None:
    untouched = everything(python)
    first, second = extension.enable(python), extension.enable(python)
    assert (first.changed, second.changed) == (True, False)
    assert set(everything(python)) > set(untouched)
    assert extension.disable(python).changed
    assert everything(python) == untouched
    assert not extension.disable(python).changed


def test_enable_mends_a_damaged_copy(python: str) -> None:
    done = extension.enable(python)
    (Path(done.package) / "protocol.py").write_text("damaged")
    (Path(done.package) / "stray.py").write_text("left by an older version")
    assert extension.enable(python).changed
    assert not extension.enable(python).changed
    assert not (Path(done.package) / "stray.py").exists()


def test_disable_leaves_what_others_put_beside_it(python: str) -> None:
    folder = Path(python).parents[1] / "etc" / "jupyter" / "jupyter_server_config.d"
    folder.mkdir(parents=True)
    (folder / "other.json").write_text("{}")
    untouched = everything(python)
    done = extension.enable(python)
    extension.disable(python)
    assert everything(python) == untouched
    Path(done.package).mkdir()
    (Path(done.package) / "__init__.py").write_text("somebody's own")
    extension.disable(python)
    assert (Path(done.package) / "__init__.py").exists()


def test_a_path_that_is_no_python_is_python_missing(tmp_path: Path) -> None:
    not_python = tmp_path / "python"
    not_python.write_text("#!/bin/sh\necho no\nexit 0\n")
    not_python.chmod(0o755)
    for path in (str(tmp_path / "absent"), str(not_python), str(tmp_path)):
        with pytest.raises(MachineError) as refused:
            extension.enable(path)
        assert refused.value.code == "python-missing"


def test_an_environment_without_jupyter_is_jupyter_missing(tmp_path: Path) -> None:
    venv.create(tmp_path / "bare", with_pip=False, symlinks=True)
    bare = str(tmp_path / "bare" / "bin" / "python")
    with pytest.raises(MachineError) as refused:
        extension.enable(bare)
    assert refused.value.code == "jupyter-missing"
    assert not extension.disable(bare).changed
    assert extension.status(bare).servers == ()


class Stranger(http.server.BaseHTTPRequestHandler):
    seen: list[str] = []
    answer = b"{}"

    def do_GET(self) -> None:
        self.seen.append(f"{self.requestline} {self.headers}")
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.answer)))
        self.end_headers()
        self.wfile.write(self.answer)

    def log_message(self, format: str, *args: object) -> None:
        """Its requests are read from ``seen``."""


@contextmanager
def stranger(answer: bytes) -> Iterator[int]:
    Stranger.seen, Stranger.answer = [], answer
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stranger) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("answer", [b"{}", b'{"hmac": "00"}', b'{"hmac": "\\u00e9"}', b'{"hmac": []}', b"[" * 90_000])
def test_a_stranger_on_a_servers_port_gets_no_byte_of_its_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    with stranger(answer) as port:
        described: dict[str, object] = {
            "url": f"http://127.0.0.1:{port}/",
            "hostname": "127.0.0.1",
            "base_url": "/",
            "token": TOKEN,
        }
        described.update(port=port, pid=os.getpid(), secure=False)
        (tmp_path / f"jpserver-{os.getpid()}.json").write_text(json.dumps(described))
        (tmp_path / "jpserver-1.json").write_text("{ damaged")
        (seen,) = extension.status(sys.executable).servers
    assert seen.loaded is None
    assert "does not have the server's token" in seen.why
    assert len(Stranger.seen) == 1
    assert TOKEN not in Stranger.seen[0]


def test_who_passes_the_question_on_to_the_server_gets_no_byte_of_its_token() -> None:
    heard: list[bytes] = []

    def pass_on(connection: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", server.port)) as onward:
            while asked := connection.recv(65536):
                heard.append(asked)
                onward.sendall(asked)
                connection.sendall(onward.recv(65536))

    with JupyterServer() as server, Target(pass_on) as relay:
        for port, loaded in ((server.port, True), (relay.address[1], None)):
            url = f"http://127.0.0.1:{port}/?token={server.token}"
            (seen,) = extension.status(sys.executable, url).servers
            assert seen.loaded is loaded, seen.why
        assert heard
        assert server.token.encode() not in b"".join(heard)


def test_a_server_elsewhere_is_not_asked_and_a_url_that_is_none_is_refused() -> None:
    (seen,) = extension.status(sys.executable, f"http://192.0.2.1:8888/?token={TOKEN}").servers
    assert seen.loaded is None
    assert "not on this computer" in seen.why
    assert TOKEN not in repr(seen)
    for url in ("", "localhost:8888", "https://localhost:8888/", "http://localhost:port/"):
        with pytest.raises(UsageError):
            extension.status(sys.executable, url or "/")


def test_the_default_interpreter_is_ours_when_it_has_jupyter() -> None:
    assert extension.default_python() == sys.executable
