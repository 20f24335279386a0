"""What is played: the wizard, `up`, `status --watch`, and ten failures that people meet."""

from __future__ import annotations

import contextlib
import os
import shlex
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.clients.page import Page
from tests.support.environment.world import World
from tests.support.faults.faulty_emulator import OperationFault
from tests.support.machines.gce_vm import NAME, PROJECT, ZONE, CloudMachine, cloud_machine

from .film import Film

DONE = r"[\s\S]*^\$\s*\Z"
FAILED = r"error\[[a-z-]+\]" + DONE
Prepare = Callable[[World, CloudMachine], None]


@dataclass(frozen=True)
class Scene:
    """``command`` is typed after ``prepare``; ``answers``: what is waited for and what is typed then. The picture is
    taken when ``until`` is on the screen; ``phrases`` are in it."""

    name: str
    command: str
    until: str
    phrases: tuple[str, ...]
    prepare: Prepare = lambda world, vm: None
    answers: tuple[tuple[str, str], ...] = ()
    columns: int = 80
    rows: int = 24
    theme: str = "dark"
    status: str = "TERMINATED"


def play(scene: Scene) -> tuple[str, str]:
    """The picture and its text."""
    with tempfile.TemporaryDirectory(prefix="rr-shot-") as directory, _reader(Path(directory), scene) as (world, vm):
        scene.prepare(world, vm)
        film = Film(world.home, world.environ, columns=scene.columns, rows=scene.rows)
        try:
            film.type(f"clear; {scene.command}\n")
            for asked, answer in scene.answers:
                film.wait_for(asked)
                film.type(answer)
            text = film.wait_for(scene.until)
            return film.svg(scene.command, scene.theme), text
        finally:
            film.close()
            while _sockets:
                _sockets.pop().close()


@contextlib.contextmanager
def _reader(home: Path, scene: Scene) -> Iterator[tuple[World, CloudMachine]]:
    """A person with the VM ``my-vm``, and a profile ``my-vm`` for it."""
    world = World(home)
    programs = home / "bin"
    programs.mkdir()
    python = shlex.quote(sys.executable)
    (programs / "remote-runtime").write_text(f'#!/bin/sh\nexec {python} -m remote_runtime "$@"\n')
    (programs / "remote-runtime").chmod(0o755)
    world.environ["PATH"] = f"{programs}{os.pathsep}{world.environ['PATH']}"
    world.environ["REMOTE_RUNTIME_CONFIG_DIR"] = str(home / "config")
    try:
        with cloud_machine(world, profile="my-vm", status=scene.status) as machine:
            yield world, machine
    finally:
        world.end()


# ── what goes wrong ──


def _misspell(world: World, vm: CloudMachine) -> None:
    world.profile("my-vm", "version: 1\ntarget: {kind: gce, instanse: my-vm}\nforward: {local_port: 88888}\n")


def _rename(world: World, vm: CloudMachine) -> None:
    _edit(world, f"instance: {NAME}", "instance: my-wm")


def _do_not_start(world: World, vm: CloudMachine) -> None:
    _edit(world, f"instance: {NAME}", f"instance: {NAME}, start: false")


def _sign_out(world: World, vm: CloudMachine) -> None:
    del world.environ["CLOUDSDK_AUTH_DISABLE_CREDENTIALS"]
    del world.environ["CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE"]
    world.environ["GCE_METADATA_HOST"] = "127.0.0.1:9"  # nobody answers there, as on a laptop


def _forbid(world: World, vm: CloudMachine) -> None:
    vm.emulator.forbidden_permissions.add("compute.instances.start")


def _exhaust(world: World, vm: CloudMachine) -> None:
    vm.emulator.cloud.fail_next["start"] = OperationFault("ZONE_RESOURCE_POOL_EXHAUSTED")


def _refuse(world: World, vm: CloudMachine) -> None:
    _edit(world, f"port: {vm.sshd.port}", "port: 9")
    (world.profiles / "my-vm.yaml").open("a").write("timeouts: {ssh: 5s}\n")


def _change_host_keys(world: World, vm: CloudMachine) -> None:
    world.up("my-vm")
    world.run("down", "my-vm")
    vm.sshd.rotate_host_keys()


def _no_jupyter(world: World, vm: CloudMachine) -> None:
    (world.profiles / "my-vm.yaml").open("a").write("jupyter: {python: /usr/bin/python3, install: never}\n")


def _take_the_port(world: World, vm: CloudMachine) -> None:
    holder = socket.create_server(("127.0.0.1", 0))
    _sockets.append(holder)
    (world.profiles / "my-vm.yaml").open("a").write(f"forward: {{local_port: {holder.getsockname()[1]}}}\n")


def _work(world: World, vm: CloudMachine) -> None:
    """A runtime whose page is busy, as long as it stands."""
    page = Page(world.up("my-vm"))
    kernel = page.start_kernel()

    def visit() -> None:
        with contextlib.suppress(OSError, ValueError):  # it ends with the scene
            while True:
                page.ask("GET", "/api/kernelspecs")

    def compute() -> None:
        with contextlib.suppress(Exception):  # it ends with the scene
            page.run(kernel, "while True: pass")

    for work in (visit, compute):
        threading.Thread(target=work, daemon=True).start()


def _in_a_cloud(world: World, vm: CloudMachine) -> None:
    world.environ["CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDRESOURCEMANAGER"] = vm.emulator.root
    (world.profiles / "my-vm.yaml").unlink()


def _edit(world: World, old: str, new: str) -> None:
    path = world.profiles / "my-vm.yaml"
    path.write_text(path.read_text().replace(old, new))


_sockets: list[socket.socket] = []
UP = "remote-runtime up my-vm"
WATCH = "remote-runtime status --watch"
WATCHED = ("my-vm", "ready", "round trip")
FAILURES = (
    Scene("unknown-profile", "remote-runtime up my-wm", FAILED, ("profile-not-found", "my-vm")),
    Scene("broken-profile", UP, FAILED, ("profile-invalid", "target.instanse", "forward.local_port"), _misspell),
    Scene("signed-out", UP, FAILED, ("no-credentials", "gcloud auth application-default login"), _sign_out),
    Scene("no-such-instance", UP, FAILED, ("instance-not-found", "my-vm"), _rename),
    Scene("stopped", UP, FAILED, ("instance-stopped", "start"), _do_not_start),
    Scene("forbidden", UP, FAILED, ("permission-denied", "compute.instances.start"), _forbid),
    Scene("no-capacity", UP, FAILED, ("instance-not-startable",), _exhaust),
    Scene("ssh-refused", UP, FAILED, ("ssh-",), _refuse, status="RUNNING"),
    Scene("host-key-changed", UP, FAILED, ("host-key-changed", "SHA256:"), _change_host_keys, status="RUNNING"),
    Scene("no-jupyter", UP, FAILED, ("jupyter-missing", "jupyter.python"), _no_jupyter, status="RUNNING"),
    Scene("port-in-use", UP, FAILED, ("port-in-use", "pid"), _take_the_port),
)
SCENES = (
    Scene("up", UP, r"token=\w+" + DONE, ("Finding the machine", "Starting Jupyter", "paste the URL", "token=")),
    *(
        Scene(f"watch-{columns}-{theme}", WATCH, "[▁▂▃▄▅▆▇█]{16}", WATCHED, _work, columns=columns, theme=theme)
        for columns in (80, 140)
        for theme in ("dark", "light")
    ),
    Scene(
        "new",
        "remote-runtime profiles new",
        r"Written: " + DONE,
        ("a Compute Engine VM", "my-project", "europe-west4-a", "Name of the profile", "Written"),
        _in_a_cloud,
        answers=(
            (r"Which machine\?", "\n"),
            (r"Project \(", "\n"),
            (r"Instance \(", "\n"),
            (r"while it runs", "y\n"),
            (r"used it for so long", "2h\n"),
            (r"Name of the profile", "\n"),
            (r"Bring my-vm up now", "n\n"),
        ),
        rows=40,
    ),
    *FAILURES,
)
__all__ = ["PROJECT", "SCENES", "ZONE", "Scene", "play"]
