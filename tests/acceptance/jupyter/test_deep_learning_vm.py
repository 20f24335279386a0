"""A Deep Learning VM with its own Jupyter at work, brought up with the profile that is kept ready for it."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

import psutil

from tests.support.clients.page import Page
from tests.support.environment.world import REPOSITORY, World
from tests.support.machines.dl_vm import Environment, Image, deep_learning_vm
from tests.support.machines.gce_vm import NAME, PROJECT, ZONE, cloud_machine
from tests.support.servers.jupyter import JupyterServer

IMAGE = Image((Environment("/opt/conda", frameworks=("torch",)),), unit="/opt/conda/bin/jupyter lab --config=/x")
OPEN_TO_ALL: dict[str, dict[str, Any]] = {
    "IdentityProvider": {"token": ""},
    "ServerApp": {"token": None, "disable_check_xsrf": True},
}
CELL = "import sys, torch; print(sys.executable, torch.HERE)"


def test_a_cell_runs_with_the_images_python_beside_its_own_server(world: World) -> None:
    ready_made = (REPOSITORY / "profiles" / "deep-learning-vm.yaml").read_text().replace("my-dlvm  ", f"{NAME}  ")
    vm_on = deep_learning_vm(world.home / "machine", IMAGE)
    with JupyterServer(bridge=False, extra_config=OPEN_TO_ALL) as theirs, cloud_machine(world, machine=vm_on) as vm:
        kernel, began = start_kernel(theirs), psutil.Process(theirs.pid).create_time()
        ssh = f"ssh: {{user: {vm.sshd.user}, port: {vm.sshd.port}, identity_file: {vm.sshd.key_path}}}\n"
        world.profile("dlvm", ready_made + ssh)
        world.environ["CLOUDSDK_CORE_PROJECT"] = PROJECT

        up = world.run("up", "dlvm", "-v")
        assert up.code == 0, up.err
        assert "Kernels: python3 (Python 3 (ipykernel))" in up.err
        page = Page(up.out.strip())
        assert page.run_bridged(page.start_kernel(), CELL) == "/opt/conda/bin/python3 True"
        runtime = world.look("dlvm")
        assert (runtime["instance"]["zone"], runtime["instance"]["status"]) == (ZONE, "RUNNING")
        offered = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
        assert runtime["server"]["kernelspecs"] == [offered]

        assert runtime["server"]["pid"] != theirs.pid
        (forward,) = runtime["forwards"]
        assert forward["remote"] == runtime["server"]["socket"], "theirs is never forwarded"
        assert kernels(theirs) == [kernel], "theirs answers as before"
        assert world.run("down", "dlvm").code == 0
        assert vm.status == "TERMINATED"
        assert kernels(theirs) == [kernel]
        assert psutil.Process(theirs.pid).create_time() == began


def start_kernel(server: JupyterServer) -> str:
    return str(ask(server, b"{}")["id"])


def kernels(server: JupyterServer) -> list[str]:
    return [str(kernel["id"]) for kernel in ask(server)]


def ask(server: JupyterServer, body: bytes | None = None) -> Any:
    """Without a token, as anybody on that machine can."""
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/api/kernels", body, timeout=30) as answer:
        return json.load(answer)
