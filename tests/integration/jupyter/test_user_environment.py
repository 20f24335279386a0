"""Which environment cells run in where Pythons, kernels, login files and settings are as people have them."""

from __future__ import annotations

import importlib.metadata
import json
import re
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from remote_runtime.core.deadline import Deadline
from remote_runtime.core.errors import MachineError
from remote_runtime.core.model import Server
from remote_runtime.core.profile import COLAB_ORIGIN, JupyterSettings
from remote_runtime.jupyter import server as jupyter
from remote_runtime.jupyter.remote.private_venv import REQUIRED
from tests.support.clients.page import Page
from tests.support.environment.processes import commands_of, end_processes_of
from tests.support.machines.dl_vm import Environment, make, script
from tests.support.machines.local_machine import LocalMachine

WANTED = jupyter.ServerSpec("work", "laptop1", JupyterSettings(), (COLAB_ORIGIN,))
LEFT_BY_LOGIN = "sleep 300"
SITE = Path("lib") / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[LocalMachine]:
    """Its Jupyter is in ``~/jv``, which only a login shell has on its PATH, behind ``~/tools``."""
    machine = LocalMachine(tmp_path / "home", path=["/usr/bin", "/bin"])
    environment(machine, "jv")
    (machine.home / ".profile").write_text('export PATH="$HOME/tools:$HOME/jv/bin:$PATH"\n')
    yield machine
    jupyter.stop(machine.run, WANTED, deadline=Deadline(40))
    assert [command for command in commands_of(machine.home).values() if command != LEFT_BY_LOGIN] == []
    end_processes_of(machine.home)


def environment(machine: LocalMachine, name: str, **what: object) -> Path:
    """Its python, in a folder of the home."""
    prefix = machine.home / name
    make(Environment(str(prefix), **what), machine.home)  # type: ignore[arg-type]  # a test's table
    return prefix / "bin" / "python"


def breaks(python: Path, package: str) -> None:
    """Its metadata stays; its import fails, as after ``pip install`` of a version that does not fit."""
    site = python.parent.parent / SITE
    (site / package).unlink(missing_ok=True)
    (site / f"{package}.py").write_text(f"raise ImportError('{package} of another age')\n")


def ensure(machine: LocalMachine, settings: JupyterSettings | None = None, *, told: list[str] | None = None) -> Server:
    heard = [] if told is None else told
    wanted = replace(WANTED, settings=settings or JupyterSettings())
    return jupyter.ensure(machine.run, wanted, progress=lambda text: heard.append(text), deadline=Deadline(120))


def cell(server: Server, code: str) -> str:
    page = Page(f"http://127.0.0.1:{server.port}/?token={server.token.reveal()}")
    return page.run(page.start_kernel(), code)


WHERE = """
import json, os, shutil, subprocess, sys
print(json.dumps({"python": sys.executable, "pip": shutil.which("pip"), "env": dict(os.environ),
                  "mytool": subprocess.getoutput("mytool"), "path": sys.path}))
"""


def test_cells_have_what_a_terminal_of_the_users_has_and_the_environment_that_up_names(machine: LocalMachine) -> None:
    home = machine.home
    torch = environment(machine, "torchenv", server=False, frameworks=("torch",))
    script(torch.parent / "pip", "")
    script(home / "tools" / "mytool", "echo mine")
    script(home / "tools" / "python3", f'exec "{torch}" "$@"')
    (home / ".profile").write_text(
        'export PATH="$HOME/tools:$HOME/torchenv/bin:$HOME/jv/bin:$PATH" HF_HOME=/data/hf LD_LIBRARY_PATH=/x/lib\n'
        "export https_proxy=http://proxy.example:3128 JUPYTER_TOKEN=known JUPYTER_GATEWAY_URL=http://127.0.0.1:1\n"
        "export VIRTUAL_ENV=/another/one\n. ~/.bashrc\n"
    )
    (home / ".bashrc").write_text("case $- in *i*) ;; *) return;; esac\nexport ONLY_INTERACTIVE=1\nsleep 300 &\n")
    kernels = home / ".local/share/jupyter/kernels"
    for name, program in (("python3", "/opt/conda/envs/gone/bin/python"), ("other", str(home / "jv/bin/python"))):
        (kernels / name).mkdir(parents=True)
        spec = {"argv": [program, "-m", "ipykernel_launcher", "-f", "{connection_file}"], "display_name": name}
        (kernels / name / "kernel.json").write_text(json.dumps({**spec, "language": "python"}))
    (home / ".jupyter").mkdir()
    (home / ".jupyter" / "jupyter_config.py").write_text(SETTINGS)
    (home / ".jupyter" / "jupyter_server_config.py").write_text("# c.ServerApp.ip = ''\nc.ServerApp.ip = '0.0.0.0'\n")
    passes_on = {"ServerApp": {"jpserver_extensions": {"jupyter_server_terminals": True}}}
    (home / ".jupyter" / "jupyter_server_config.json").write_text(json.dumps(passes_on))
    (home / "src").mkdir()
    (home / "src" / "jinja2.py").write_text("raise ImportError('a module of the user has this name')")

    server = ensure(machine, JupyterSettings(env={"PYTHONPATH": "~/src", "HF_HOME": "/profile/hf"}))
    said = json.loads(cell(server, WHERE))
    assert server.interpreter == str(home / "jv" / "bin" / "python3")
    assert said["python"] == str(torch)
    assert said["pip"] == str(torch.parent / "pip")
    assert said["mytool"] == "mine"
    env = said["env"]
    assert (env["HF_HOME"], env["LD_LIBRARY_PATH"], env["ONLY_INTERACTIVE"]) == ("/profile/hf", "/x/lib", "1")
    assert env["https_proxy"] == "http://proxy.example:3128"
    assert env["VIRTUAL_ENV"] == str(home / "torchenv")
    assert not {"JUPYTER_TOKEN", "JUPYTER_GATEWAY_URL", "PYTHONHOME"} & set(env)
    assert str(home / "src") in said["path"]
    notes = "\n".join(server.notes)
    assert f"{kernels}/python3/kernel.json names /opt/conda/envs/gone/bin/python, which does not exist" in notes
    assert "jupyter_config.py: this server ignores settings for access and addresses" in notes
    unused = json.loads((Path(server.directory) / "unused.json").read_text())["traits"]
    assert unused == sorted(re.findall(r"^c\.(\w+\.\w+) = (?!12345)", SETTINGS, re.MULTILINE))
    assert "jupyter_server_config.py is not read" in notes
    assert "jupyter.args" in notes


def test_the_kernel_that_colab_asks_for_is_the_python_that_up_names(machine: LocalMachine) -> None:
    """A kernel.json of the user's has its name: of another environment that lives, then of one that is gone."""
    other = environment(machine, "other", server=False)
    spec = machine.home / ".local/share/jupyter/kernels/python3/kernel.json"
    spec.parent.mkdir(parents=True)
    described = {"display_name": "Python 3", "language": "python"}
    arguments = ["-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec.write_text(json.dumps({**described, "argv": [str(other), *arguments]}))
    server = ensure(machine)
    assert any(f"{spec} names {other}" in note for note in server.notes)
    for program in (str(other), "/opt/gone/bin/python"):
        spec.write_text(json.dumps({**described, "argv": [program, *arguments]}))
        assert cell(server, "import sys; print(sys.executable)") == server.interpreter


def test_an_environment_whose_metadata_is_all_that_is_left_is_passed_over_with_its_reason(
    machine: LocalMachine,
) -> None:
    """Jupyter cannot be imported in the first on the PATH, ipykernel not in the one that would lend torch."""
    server_broken = environment(machine, "broken")
    breaks(server_broken, "jinja2")
    kernel_broken = environment(machine, "tools", server=False, frameworks=("torch",))
    breaks(kernel_broken, "zmq")
    script(machine.home / "first" / "jupyter", "", interpreter=str(server_broken))
    (machine.home / ".profile").write_text('export PATH="$HOME/first:$HOME/tools/bin:$HOME/jv/bin:$PATH"\n')
    server = ensure(machine)
    notes = "\n".join(server.notes)
    assert server.interpreter == str(machine.home / "jv" / "bin" / "python3")
    for python, package in ((server_broken, "jinja2"), (kernel_broken.parent / "python3", "zmq")):
        assert f"{python} is broken and was skipped" in notes
        assert f"{package} of another age" in notes
    assert "jupyter.python" in notes


def test_our_own_environment_is_made_again_in_the_same_up_when_it_is_broken(machine: LocalMachine) -> None:
    """As after `!pip install` of a jinja2 of another age in a cell."""
    (machine.home / ".profile").write_text("")
    machine.environ.update(wheels(machine.home / "wheels"))
    venv = machine.folder / "venv"
    make(Environment(str(venv)), machine.home)
    (venv / "remote-runtime.json").write_text(json.dumps({"packages": REQUIRED}))
    breaks(venv / "bin" / "python", "jinja2")
    told: list[str] = []
    server = ensure(machine, told=told)
    assert server.interpreter == str(venv / "bin" / "python")
    assert any("has been recreated" in note and "jinja2 of another age" in note for note in server.notes)
    assert any(line.startswith("Recreating the private environment for Jupyter") for line in told)


def test_an_extension_that_ends_the_server_is_named(machine: LocalMachine) -> None:
    """It calls ``sys.exit``, which Jupyter passes on without a word."""
    site = machine.home / "jv" / SITE
    (site / "gatekeeper.py").write_text(
        "import sys\n"
        "def _jupyter_server_extension_points(): return [{'module': 'gatekeeper'}]\n"
        "def _load_jupyter_server_extension(app): sys.exit(0)\n"
    )
    (machine.home / ".jupyter").mkdir()
    enabled = {"ServerApp": {"jpserver_extensions": {"gatekeeper": True}}}
    (machine.home / ".jupyter" / "jupyter_server_config.json").write_text(json.dumps(enabled))
    with pytest.raises(MachineError) as caught:
        ensure(machine)
    assert caught.value.code == "jupyter-did-not-start"
    assert f"sys.exit(0) in gatekeeper ({site}/gatekeeper.py, line 3)" in caught.value.why
    assert "extension disable gatekeeper" in caught.value.hint


def wheels(folder: Path) -> dict[str, str]:
    """A package index without a network: what it has leads to the packages of the tests' own environment."""
    folder.mkdir()
    for name in (re.split("[<>]", needed)[0] for needed in REQUIRED):
        version = importlib.metadata.version(name)
        about = f"{name}-{version}.dist-info"
        with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{name}.pth", sysconfig.get_paths()["purelib"] + "\n")
            wheel.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
            wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{about}/RECORD", "")
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder), "PIP_NO_COMPILE": "1", "PYTHONDONTWRITEBYTECODE": "1"}


SETTINGS = """
from jupyter_server.auth import IdentityProvider, User
class Everybody(IdentityProvider):
    def get_user(self, handler): return User("everybody")
c.ServerApp.base_url = "/jup/"
c.ServerApp.certfile = "/gone.pem"
c.ServerApp.keyfile = "/gone.key"
c.ServerApp.identity_provider_class = Everybody
c.PasswordIdentityProvider.token = "another"
c.ServerApp.root_dir = "/"
c.FileContentsManager.root_dir = "/"
c.JupyterApp.allow_origin = "*"
c.ServerApp.sock = "/tmp/elsewhere"
c.ServerApp.ip = "0.0.0.0"
c.ServerApp.jpserver_extensions = {"remote_runtime_bridge": False}
c.ServerApp.allow_unauthenticated_access = True
c.Session.key = b""
c.AsyncIOLoopKernelManager.transport = "tcp"
c.MappingKernelManager.cull_idle_timeout = 12345
"""
