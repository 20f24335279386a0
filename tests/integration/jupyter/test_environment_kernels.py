"""Environments of a machine as kernels of a real server: their cells have what their own activation gives a shell."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from remote_runtime.core.deadline import Deadline
from remote_runtime.core.model import Server
from remote_runtime.core.profile import COLAB_ORIGIN, JupyterSettings
from remote_runtime.jupyter import server as jupyter
from tests.support.clients.page import Page
from tests.support.environment.processes import commands_of
from tests.support.machines.environments import (
    SITE,
    activated_in_a_shell,
    add_packed_activation,
    comparable,
    make_conda,
    make_venv,
)
from tests.support.machines.local_machine import LocalMachine

SETTINGS = JupyterSettings(working_dir="~/work")
WANTED = jupyter.ServerSpec("work", "laptop1", SETTINGS, (COLAB_ORIGIN,))


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[LocalMachine]:
    machine = LocalMachine(tmp_path / "home")
    (machine.home / "work").mkdir()
    (machine.home / ".profile").write_text("export PATH=/usr/bin:/bin LD_LIBRARY_PATH=/login/lib FROM_THE_LOGIN=1\n")
    yield machine
    jupyter.stop(machine.run, WANTED, deadline=Deadline(40))
    assert commands_of(machine.home) == {}


def ensure(machine: LocalMachine, settings: JupyterSettings = SETTINGS) -> Server:
    wanted = replace(WANTED, settings=settings)
    return jupyter.ensure(machine.run, wanted, progress=lambda text: None, deadline=Deadline(120))


def kernels(server: Server) -> dict[str, str]:
    return {each.name: each.display_name for each in server.kernelspecs}


def variables_in_a_cell(page: Page, kernel: str) -> dict[str, str]:
    number = page.ask("POST", "/api/kernels", json.dumps({"name": kernel}).encode())[1]["id"]
    found: dict[str, str] = json.loads(page.run(number, "import json, os; print(json.dumps(dict(os.environ)))"))
    return comparable(found)


def test_a_cell_has_the_variables_of_its_environment_s_own_activation(machine: LocalMachine) -> None:
    work = machine.home / "work"
    made = {
        "my-venv": make_venv(work / "my venv"),
        "proj": make_venv(work / "proj" / ".venv", by="uv"),
        "torch": make_conda(machine.home / "miniforge3" / "envs" / "torch"),
    }
    add_packed_activation(made["torch"])
    installed = make_venv(work / "installed", "printing")
    for name, program in (("mine", installed / "bin" / "python"), ("taken", Path("/usr/bin/R"))):
        folder = machine.home / ".local" / "share" / "jupyter" / "kernels" / name
        folder.mkdir(parents=True)
        (folder / "kernel.json").write_text(json.dumps({"argv": [str(program)], "display_name": name, "language": "r"}))

    server = ensure(machine)
    assert kernels(server) == {
        "python3": "Python 3 (ipykernel)", "my-venv": "Python (my venv)", "proj": "Python (proj)",
        "torch": "Python (torch)", "mine": "mine", "taken": "taken",
    }  # fmt: skip
    page = Page(f"http://127.0.0.1:{server.port}/?token={server.token.reveal()}")
    assert set(page.ask("GET", "/api/kernelspecs")[1]["kernelspecs"]) == set(kernels(server))
    own = machine.environ["PATH"].removesuffix(":/usr/bin:/bin")
    login = {**machine.environ, "PATH": f"/usr/bin:/bin:{own}", "LD_LIBRARY_PATH": "/login/lib", "FROM_THE_LOGIN": "1"}
    for name, prefix in list(made.items())[::2]:  # uv's is compared in tests/unit, without a server
        found, shell = variables_in_a_cell(page, name), activated_in_a_shell(prefix, login)
        assert {key: found.get(key) for key in shell} == shell
        assert not [each for each in set(found) - set(shell) if each.startswith(("CONDA", "VIRTUAL", "LD_", "PATH"))]
    assert found["LD_LIBRARY_PATH"] == f"{made['torch']}/lib/cuda:/login/lib"

    make_venv(work / "taken", "printing")
    shutil.rmtree(made["proj"])
    again = ensure(machine)
    assert (again.pid, set(kernels(again)) - {"mine", "taken", "python3"} >= {"my-venv", "torch"}) == (server.pid, True)
    assert "proj" not in kernels(again)
    assert kernels(again)["taken"] == "taken", "the user's kernel of this name is not hidden"
    assert sum(name.startswith("taken-") for name in kernels(again)) == 1
    assert set(kernels(ensure(machine, replace(SETTINGS, kernels=())))) == {"python3", "mine", "taken"}
    assert set(kernels(ensure(machine, replace(SETTINGS, kernels=(str(work / "my venv"),)))))  == {
        "python3", "mine", "taken", "my-venv",
    }  # fmt: skip
    assert not (work / "my venv" / "share" / "jupyter").exists()
    assert (made["torch"] / SITE).is_dir()
