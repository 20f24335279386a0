"""A machine without Jupyter gets a private environment, from the real package registry."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from remote_runtime.core.deadline import Deadline
from remote_runtime.core.errors import MachineError
from remote_runtime.core.profile import COLAB_ORIGIN, JupyterSettings
from remote_runtime.jupyter import server as jupyter
from remote_runtime.jupyter.remote.interpreters import Interpreter
from remote_runtime.jupyter.remote.private_venv import create
from remote_runtime.launcher.remote.reply import ReplyWriter, ReportedError
from tests.support.environment.processes import commands_of
from tests.support.machines.local_machine import LocalMachine

pytestmark = pytest.mark.registry
WANTED = jupyter.ServerSpec("work", "laptop1", JupyterSettings(), (COLAB_ORIGIN,))


@pytest.fixture
def machine(tmp_path: Path) -> LocalMachine:
    """The system's Python only, which has no Jupyter."""
    return LocalMachine(tmp_path / "home", path=["/usr/bin", "/bin"])


def test_a_machine_without_jupyter_gets_a_private_one_after_an_interrupted_attempt(machine: LocalMachine) -> None:
    half_made = machine.folder / "venv" / "bin"
    half_made.mkdir(parents=True)
    told: list[str] = []
    wanted = replace(WANTED, settings=JupyterSettings(lab="never"))
    server = jupyter.ensure(machine.run, wanted, progress=lambda text: told.append(text), deadline=Deadline(170))
    try:
        assert server.interpreter == str(machine.folder / "venv" / "bin" / "python")
        assert any(text.startswith("Installing Jupyter: ") for text in told)
    finally:
        assert jupyter.stop(machine.run, WANTED, deadline=Deadline(40)) == "stopped"
    assert commands_of(machine.folder) == {}
    assert (machine.folder / "venv").is_dir()
    assert jupyter.purge(machine.run, JupyterSettings(), deadline=Deadline(20)) == jupyter.PurgeResult(True)
    assert not machine.folder.exists()


def test_a_package_that_cannot_be_installed_shows_the_end_of_pips_output(machine: LocalMachine) -> None:
    machine.environ.update(PIP_NO_INDEX="1", PIP_FIND_LINKS="/no/such/wheels", PIP_CONFIG_FILE=os.devnull)
    with pytest.raises(MachineError) as caught:
        jupyter.ensure(machine.run, WANTED, progress=lambda _: None, deadline=Deadline(170))
    assert caught.value.code == "jupyter-install-failed"
    assert "jupyter_server" in caught.value.why
    assert not (machine.folder / "venv").exists()


def test_without_venv_virtualenv_and_uv_the_apt_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Ubuntu, where ``python3 -m venv`` is a package of its own."""
    stripped = tmp_path / "python3"
    stripped.write_text('#!/bin/sh\necho "no module $2"; exit 1\n')
    stripped.chmod(0o755)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    with open(os.devnull, "w") as nobody, pytest.raises(ReportedError) as caught:
        create(
            str(tmp_path / "venv"), Interpreter(str(stripped), "3.12.3"), ReplyWriter("", nobody, 60), os.environ, ""
        )
    assert caught.value.error["code"] == "jupyter-install-failed"
    assert "no module venv" in caught.value.error["why"]
    assert caught.value.error["hint"] == "On the machine: `sudo apt-get install python3.12-venv`"


@pytest.fixture
def uv(tmp_path: Path) -> Path:
    """uv where its own installer puts it: the one that scripts/install used, else from the package registry."""
    program = Path(sys.executable).with_name("uv")
    if not program.exists():
        target = tmp_path / "uv"
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(target), "uv"]
        subprocess.run(install, check=True)
        program = target / "bin" / "uv"
    (tmp_path / "home" / ".local" / "bin").mkdir(parents=True)
    (tmp_path / "home" / ".local" / "bin" / "uv").symlink_to(program)
    return program


def test_without_venv_virtualenv_makes_an_environment_that_has_pip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real virtualenv; only the Python is without venv and ensurepip, as Ubuntu's is."""
    base = tmp_path / "base"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(base)], check=True)
    install = ["pip", "--python", str(base / "bin" / "python"), "install", "--quiet", "virtualenv"]
    subprocess.run([sys.executable, "-m", *install], check=True)
    stripped = base / "bin" / "stripped"
    refusal = 'echo "ensurepip is not available"; exit 1'
    stripped.write_text(f'#!/bin/sh\n[ "$2" != venv ] || {{ {refusal}; }}\nexec "{base}/bin/python" "$@"\n')
    stripped.chmod(0o755)
    monkeypatch.setenv("HOME", str(tmp_path))
    with open(os.devnull, "w") as nobody:
        base_python = Interpreter(str(stripped), "3.12.3")
        create(str(tmp_path / "venv"), base_python, ReplyWriter("", nobody, 60), os.environ, "")
    installed = packages_in(tmp_path / "venv")
    assert "pip" in installed
    assert "virtualenv" not in installed, "an environment of its own"


def test_uv_makes_the_environment_with_jupyterlab_and_says_what_it_lacks(machine: LocalMachine, uv: Path) -> None:
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        machine.environ.pop(name, None)
    told: list[str] = []
    server = jupyter.ensure(machine.run, WANTED, progress=lambda text: told.append(text), deadline=Deadline(170))
    jupyter.stop(machine.run, WANTED, deadline=Deadline(40))
    assert "Installing Jupyter with uv" in told
    assert not any("pip" in line for line in told)
    assert {"jupyterlab", "jupyter_server", "pip"} <= packages_in(machine.folder / "venv")
    assert server.missing_packages == ("numpy", "pandas", "torch")
    assert any(note.startswith("This environment has no numpy, pandas or torch. Add them") for note in server.notes)


def packages_in(environment: Path) -> set[str]:
    listed = [str(environment / "bin" / "python"), "-m", "pip", "list", "--format=freeze"]
    printed = subprocess.run(listed, capture_output=True, text=True, check=True).stdout
    return {line.partition("==")[0].replace("-", "_") for line in printed.splitlines()}
