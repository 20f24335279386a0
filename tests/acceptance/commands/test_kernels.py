"""`kernels` on an SSH host, before and while its runtime runs."""

from __future__ import annotations

import json

from tests.support.clients.page import Page
from tests.support.environment.world import World
from tests.support.machines.environments import add_packed_activation, make_conda, make_venv
from tests.support.servers.sshd import running_sshd


def test_environments_of_an_ssh_host_are_listed_and_run_cells(world: World) -> None:
    with running_sshd(world.home / "machine") as sshd:
        work = sshd.home / "work"
        (sshd.home / ".profile").write_text("export LD_LIBRARY_PATH=/login/lib\n")
        torch = make_conda(work / "torch")
        add_packed_activation(torch)
        bare = make_venv(work / "bare", kernel="")
        world.profile(
            "far",
            "version: 1\ntarget: {kind: ssh, host: 127.0.0.1}\njupyter: {working_dir: ~/work}\n"
            f"ssh: {{user: {sshd.user}, port: {sshd.port}, identity_file: {sshd.key_path}, host_key: accept-new}}\n",
        )
        before = world.run("kernels", "far", "--json").document
        assert (before["running"], [each["name"] for each in before["kernels"]]) == (False, ["torch"])
        assert not (sshd.home / ".local" / "share" / "remote-runtime").exists(), "it leaves nothing"

        page = Page(world.up("far"))
        listed = world.run("kernels", "far", "--json").document
        assert (listed["name"], listed["running"], listed["notes"]) == ("far", True, [])
        assert [each["name"] for each in listed["kernels"]] == ["python3", "torch"]
        version = before["kernels"][0]["environment"]["python"]
        assert listed["kernels"][1] == {
            "name": "torch", "display_name": "Python (torch)", "language": "python",
            "interpreter": f"{torch}/bin/python",
            "environment": {"kind": "conda", "path": str(torch), "python": version},
        }  # fmt: skip
        (unusable,) = listed["unusable"]
        assert (unusable["environment"]["path"], unusable["why"]) == (str(bare), "it has no ipykernel")
        assert unusable["fix"] == f"uv pip install --python {bare}/bin/python ipykernel"

        assert "torch" in page.ask("GET", "/api/kernelspecs")[1]["kernelspecs"]
        kernel = page.ask("POST", "/api/kernels", json.dumps({"name": "torch"}).encode())[1]["id"]
        code = "import os, sys; print(sys.executable, os.environ['LD_LIBRARY_PATH'])"
        assert page.run(kernel, code) == f"{torch}/bin/python {torch}/lib/cuda:/login/lib"

        make_venv(work / "new")
        said = world.run("kernels", "far")
        assert [line.split()[0] for line in said.out.splitlines()] == ["NAME", "python3", "new", "torch"]
        assert f"{bare}: it has no ipykernel\n    fix, on the machine: `uv pip install" in said.err
        assert "new" in page.ask("GET", "/api/kernelspecs")[1]["kernelspecs"]
        assert world.run("down", "far").code == 0
        assert world.running() == []
