"""The server that runs in a directory of ours, seen from the machine."""

from __future__ import annotations

import io
import json
import os
import socket
import time
from pathlib import Path

import pytest

from remote_runtime.bridge.extension import LAUNCHED
from remote_runtime.jupyter.remote import listen_address, processes, server
from remote_runtime.jupyter.remote.data_dir import INFO
from remote_runtime.jupyter.remote.request import BridgeFiles, LaunchSpec
from remote_runtime.jupyter.remote.start import jupyter_config
from remote_runtime.launcher.remote.reply import ReplyWriter, ReportedError

SPEC = LaunchSpec("auto", "auto", "~", None, {}, [], [], [], True, BridgeFiles("", "", {}), "")


def test_the_wait_for_a_server_that_hangs_counts_the_time_of_each_look(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        pid = os.getpid()
        info = {"pid": pid, "port": silent.getsockname()[1], "birth": processes.start_id(pid)}
        (tmp_path / INFO).write_text(json.dumps(info))
        began = time.monotonic()
        with pytest.raises(ReportedError, match="does not respond"):
            server.find_healthy(str(tmp_path), ReplyWriter("rr-test:", io.StringIO(), 60.0), within_s=1.5)
        assert time.monotonic() - began < 15


def test_a_file_system_without_unix_sockets_is_found_out_before_jupyter_is_started() -> None:
    heard = io.StringIO()
    with listen_address.ListenAddress("/sys", SPEC, ReplyWriter("", heard, 60.0)) as found:
        (note,) = found.notes
        assert "/sys can't hold a Unix socket" in note
        assert isinstance(json.loads(heard.getvalue())["reach"], int), "the port is asked for in its place"


def test_a_server_that_looks_strictly_whether_its_port_is_free_gets_a_chance() -> None:
    """jupyter_server 2.0 binds it without SO_REUSEADDR first: a port that is held for it would be in use for ever."""
    with listen_address.reserve_address("", SPEC, on_socket=False, hold=False) as free, socket.socket() as strict:
        strict.bind(("127.0.0.1", int(free)))


@pytest.mark.parametrize("kind", ["server2", "server1", "notebook6"])
def test_the_bridge_can_tell_that_the_launcher_started_its_server(kind: str) -> None:
    app = jupyter_config(kind, 1, "token", "/", SPEC)
    assert app["NotebookApp" if kind == "notebook6" else "ServerApp"]["tornado_settings"][LAUNCHED] is True
