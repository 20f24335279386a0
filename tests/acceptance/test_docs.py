"""Every command of the README, of docs/ and of skills/ is carried out, in the order in which it stands there."""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from remote_runtime import profiles
from tests.support.environment.world import World
from tests.support.machines.gce_vm import CloudMachine, cloud_machine

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "skills").rglob("*.md")])
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
EXECUTED = re.compile(r"^```(sh|python)$", re.MULTILINE)
# .ci/run carries these out itself; test_drift.py holds the two lists against each other.
BY_CI = ("scripts/quickstart", "scripts/test")
# The first needs an account of Google's; test_shots.py answers the questions of the second.
ELSEWHERE = (*BY_CI, "gcloud auth application-default login", "remote-runtime profiles new")
BRIDGE_PORT = "8899"
MAKES_ITS_PROFILE = "profiles new my-vm --"


@pytest.fixture
def vm(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[CloudMachine]:
    """The reader's world: the VM ``my-vm`` behind the profiles of the documents, and the programs on the PATH."""
    (world.home / "config").mkdir()
    with cloud_machine(world, profile="big") as machine:
        text = (world.profiles / "big.yaml").read_text()
        for name in ("small", "my-vm"):
            world.profile(name, text)
        _install(world)
        world.environ["REMOTE_RUNTIME_CONFIG_DIR"] = str(world.home / "config")
        yield machine


@pytest.mark.parametrize(
    "document",
    [path for path in DOCUMENTS if EXECUTED.search(path.read_text(encoding="utf-8"))],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_the_commands_of_the_documents_do_what_they_say(document: Path, world: World, vm: CloudMachine) -> None:
    port = str(_free_port())
    if MAKES_ITS_PROFILE in document.read_text(encoding="utf-8"):
        (world.profiles / "my-vm.yaml").unlink()
    for language, text in BLOCK.findall(document.read_text(encoding="utf-8")):
        if language == "sh":
            lines = [line for line in text.splitlines() if line.split("#")[0].strip() not in ELSEWHERE]
            _carry_out([line.replace(BRIDGE_PORT, port) for line in lines], world, port)
        elif language == "python":
            _run([*_python(world), "-c", text], world)
        if MAKES_ITS_PROFILE in text:
            _lead_to(vm, world.home / "config" / "profiles" / "my-vm.yaml")
    assert world.run("down", "--all", "--force").code == 0


def test_the_profiles_of_the_documents_can_be_used(tmp_path: Path) -> None:
    texts = [text for path in DOCUMENTS for language, text in BLOCK.findall(path.read_text()) if language == "yaml"]
    assert len(texts) > 3
    for text in texts:
        (tmp_path / "p.yaml").write_text(text, encoding="utf-8")
        profiles.load(str(tmp_path / "p.yaml"))


def _carry_out(commands: list[str], world: World, port: str) -> None:
    """As a person would type it; a server that goes on gets a terminal of its own."""
    lines = []
    for line in commands:
        if line.startswith("jupyter server"):
            root = " --allow-root" if os.getuid() == 0 else ""
            listens = f"(exec 3<>/dev/tcp/127.0.0.1/{port}) 2>/dev/null"
            line = f"{line}{root} >server.log 2>&1 &\nfor _ in {{1..200}}; do {listens} && break; sleep 0.2; done"
        lines.append(line)
    _run(["bash", "-euo", "pipefail", "-c", "\n".join([*lines, "kill $(jobs -p) 2>/dev/null || true"])], world)


def _run(command: list[str], world: World) -> None:
    done = subprocess.run(
        command, env=world.environ, cwd=world.home, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=150, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{command[-1]}\n{done.stdout}\n{done.stderr}"


def _install(world: World) -> None:
    """An environment of the reader's own, into which ``bridge enable`` may write."""
    venv = world.home / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    (packages,) = venv.glob("lib/python*/site-packages")
    (packages / "tests.pth").write_text(f"{ROOT}\n{sysconfig.get_path('purelib')}\n")
    for name, module in (("remote-runtime", "remote_runtime"), ("jupyter", "jupyter_core.command")):
        program = venv / "bin" / name
        program.write_text(f'#!/bin/sh\nexec {shlex.quote(str(venv / "bin" / "python"))} -m {module} "$@"\n')
        program.chmod(0o755)
    world.environ["PATH"] = f"{venv / 'bin'}{os.pathsep}{world.environ['PATH']}"
    world.environ["VIRTUAL_ENV"] = str(venv)


def _python(world: World) -> list[str]:
    return [str(world.home / "venv" / "bin" / "python")]


def _lead_to(vm: CloudMachine, profile: Path) -> None:
    """The SSH server of the tests has a port and a key of its own, which no question could find out."""
    text = profile.read_text()
    assert profiles.load(str(profile)).target.kind == "gce"
    own = {"user": vm.sshd.user, "port": vm.sshd.port, "identity_file": vm.sshd.key_path}
    body = re.sub(r"(?m)^ssh:.*\n(?:[ #].*\n)*", "", text)
    profile.write_text(body.rstrip() + "\nssh:\n" + "".join(f"  {key}: {value}\n" for key, value in own.items()))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
