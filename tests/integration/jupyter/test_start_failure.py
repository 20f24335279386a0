"""What the launcher says when the machine is broken, and that it leaves nothing behind then."""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from remote_runtime.core.deadline import Deadline, wait_until
from remote_runtime.core.errors import DeadlinePassed, MachineError
from remote_runtime.core.model import Server
from remote_runtime.core.profile import COLAB_ORIGIN, JupyterSettings
from remote_runtime.jupyter import server as jupyter
from tests.support.environment.mounts import within_mount
from tests.support.environment.old_pythons import old_python
from tests.support.environment.processes import commands_of
from tests.support.machines.local_machine import LocalMachine

WANTED = jupyter.ServerSpec("work", "laptop1", JupyterSettings(), (COLAB_ORIGIN,))
BARE_PYTHON = "/usr/bin/python3"


@pytest.fixture(scope="session")
def python_36() -> str:
    return old_python("3.6")


@pytest.fixture(scope="session")
def python_38() -> str:
    return old_python("3.8")


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[LocalMachine]:
    machine = LocalMachine(tmp_path / "home")
    yield machine
    assert commands_of(machine.folder) == {}
    assert not (machine.folder / "servers").exists()
    assert not (machine.folder / "bridge").exists()


def ensure(
    machine: LocalMachine, settings: JupyterSettings | None = None, *, within_s: float = 60.0, source: str | None = None
) -> Server:
    wanted = replace(WANTED, settings=settings or JupyterSettings())
    bridge = None if source is None else broken_bridge(source)
    return jupyter.ensure(machine.run, wanted, progress=lambda _: None, deadline=Deadline(within_s), bridge=bridge)


def test_without_jupyter_and_with_install_never_it_says_where_it_looked(machine: LocalMachine) -> None:
    with pytest.raises(MachineError, match="Jupyter is not installed") as caught:
        ensure(bare(machine), JupyterSettings(install="never"))
    assert caught.value.code == "jupyter-missing"
    assert f"{BARE_PYTHON}: no jupyter_server" in caught.value.why


def test_a_python_of_the_profile_without_jupyter_is_named(machine: LocalMachine) -> None:
    with pytest.raises(MachineError, match=r"jupyter\.python") as caught:
        ensure(machine, JupyterSettings(python=BARE_PYTHON))
    assert caught.value.code == "jupyter-missing"
    assert "/usr/bin/python3 -m pip install" in caught.value.hint


def test_a_machine_without_python_is_told(machine: LocalMachine) -> None:
    machine.environ["PATH"] = str(machine.home)
    with pytest.raises(MachineError) as caught:
        ensure(machine, JupyterSettings(python="/no/such/python"))
    assert caught.value.code == "python-missing"


def test_a_setting_that_jupyter_refuses_shows_the_end_of_its_log(machine: LocalMachine) -> None:
    with pytest.raises(MachineError) as caught:
        ensure(machine, JupyterSettings(args=("--ServerApp.max_body_size=enormous",)))
    assert caught.value.code == "jupyter-did-not-start"
    assert "max_body_size" in caught.value.why


def test_jupyter_without_the_bridge_is_ended_and_its_log_shown(machine: LocalMachine) -> None:
    with pytest.raises(MachineError) as caught:
        ensure(machine, source="raise RuntimeError('broken bridge')")
    assert caught.value.code == "bridge-not-loaded"
    assert "broken bridge" in caught.value.why


def test_a_jupyter_that_hangs_is_ended_in_time(machine: LocalMachine) -> None:
    (machine.home / ".jupyter").mkdir()
    settings = machine.home / ".jupyter" / "jupyter_config.py"
    settings.write_text("import time; print('hanging', flush=True); time.sleep(600)")
    with pytest.raises(MachineError) as caught:
        ensure(machine, within_s=8)
    assert caught.value.code == "jupyter-did-not-start"
    assert "hanging" in caught.value.why


def test_a_port_of_the_profile_that_is_taken_is_named(machine: LocalMachine) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(MachineError, match=f"port {port} on the machine") as caught:
            ensure(machine, JupyterSettings(port=port))
    assert caught.value.code == "jupyter-did-not-start"
    assert "`jupyter.port`" in caught.value.hint
    assert caught.value.why == "another program is using it"


def test_a_working_directory_that_is_not_there_is_named(machine: LocalMachine) -> None:
    with pytest.raises(MachineError, match="/no/such/folder") as caught:
        ensure(machine, JupyterSettings(working_dir="/no/such/folder"))
    assert "jupyter.working_dir" in caught.value.hint


def test_when_the_client_leaves_the_server_it_wanted_is_ended(machine: LocalMachine) -> None:
    """Its channel is closed without a word, as when the network dies; the launcher finds out by itself."""
    told = threading.Event()

    def tell(text: str) -> None:
        if text.startswith("Waiting for Jupyter"):
            told.set()
            raise DeadlinePassed("left")

    with pytest.raises(DeadlinePassed):
        jupyter.ensure(
            machine.run, WANTED, progress=tell, deadline=Deadline(60),
            bridge=broken_bridge("import time; time.sleep(600)"),
        )  # fmt: skip
    assert told.is_set()
    wait_until(lambda: not commands_of(machine.folder), Deadline(20), every_s=0.1, what="the end of the launcher")


def test_a_full_disk_is_named(machine: LocalMachine) -> None:
    disk = machine.home / ".local"
    disk.mkdir()
    machine.within = within_mount(f"-t tmpfs -o size=16k tmpfs {disk}")
    with pytest.raises(MachineError) as caught:
        ensure(machine)
    assert caught.value.code == "disk-full"
    assert "remote-runtime" in caught.value.why


def test_a_home_that_cannot_be_written_is_named(machine: LocalMachine) -> None:
    (machine.home / ".local").write_text("a file where a folder should be")
    with pytest.raises(MachineError) as caught:
        ensure(machine)
    assert caught.value.code == "folder-unusable"
    assert str(machine.home / ".local") in caught.value.why


def test_an_old_python_is_passed_over_for_a_newer_one(machine: LocalMachine, python_36: str, tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.mkdir()
    (old / "python3").symlink_to(python_36)
    machine.environ["PATH"] = os.pathsep.join([str(old), str(Path(sys.executable).parent), "/usr/bin", "/bin"])
    with pytest.raises(MachineError) as caught:
        ensure(machine, JupyterSettings(args=("--ServerApp.max_body_size=enormous",)))
    assert caught.value.code == "jupyter-did-not-start"


def test_the_launcher_runs_on_python_38(machine: LocalMachine, python_38: str, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python3").symlink_to(python_38)
    machine.environ["PATH"] = os.pathsep.join([str(tmp_path / "bin"), str(Path(sys.executable).parent)])
    (tmp_path / "home" / "jupyter").mkdir()
    server = jupyter.ensure(machine.run, WANTED, progress=lambda _: None, deadline=Deadline(60))
    assert Path(server.interpreter).parent == Path(sys.executable).parent
    assert jupyter.stop(machine.run, WANTED, deadline=Deadline(30)) == "stopped"


def broken_bridge(source: str) -> jupyter.Bridge:
    return jupyter.Bridge("0.0.1", {f"{jupyter.BRIDGE_PACKAGE}/__init__.py": source})


def bare(machine: LocalMachine) -> LocalMachine:
    """The same machine, with the system's Python only."""
    machine.environ["PATH"] = "/usr/bin:/bin"
    return machine
