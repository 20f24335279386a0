"""What is played: the commands of the documents, and eleven errors that users meet."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.clients.page import Page
from tests.support.environment.world import World
from tests.support.faults.faulty_emulator import OperationFault
from tests.support.machines.gce_vm import NAME, PROJECT, ZONE, CloudMachine, cloud_machine

from .film import THEMES, Film

HOME = Path("/home/me")
CLONE = Path(__file__).resolve().parents[2]
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
    status: str = "TERMINATED"


def play(scene: Scene) -> tuple[dict[str, str], str]:
    """The pictures, one for each theme, and their text."""
    with _home() as home, _user(home, scene) as (world, vm):
        scene.prepare(world, vm)
        film = Film(world.home, world.environ, columns=scene.columns, rows=scene.rows)
        try:
            film.type(f"clear; {scene.command}\n")
            for prompt, answer in scene.answers:
                film.wait_for(prompt)
                film.type(answer)
            film.wait_for(scene.until)
            folders = (world.home / "machine" / "home", world.home, Path(sys.prefix), CLONE)
            usual = dict(zip(map(str, folders), ("~", "~", "/usr", "~/remote-runtime"), strict=True))
            screen, text = film.screen(usual), film.text()
            return {theme: film.svg(screen, scene.command, theme) for theme in THEMES}, text
        finally:
            film.close()
            while _sockets:
                _sockets.pop().close()


@contextlib.contextmanager
def _home() -> Iterator[Path]:
    """``/home/me`` below scripts/shots, which mounts an empty /home, or a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="rr-") as directory:
        home = HOME if os.path.ismount(HOME.parent) and not any(HOME.parent.iterdir()) else Path(directory)
        home.mkdir(exist_ok=True)
        try:
            yield home
        finally:
            shutil.rmtree(home)
            Path(directory).mkdir(exist_ok=True)


@contextlib.contextmanager
def _user(home: Path, scene: Scene) -> Iterator[tuple[World, CloudMachine]]:
    """A user with the VM ``my-vm`` and a profile ``my-vm`` for it, in the folders that are the default on Linux."""
    world = World(home)
    world.profiles.rmdir()
    world.profiles = home / ".config" / "remote-runtime" / "profiles"
    world.profiles.mkdir(parents=True)
    world.state = home / ".local" / "state" / "remote-runtime"
    for name in ("REMOTE_RUNTIME_PROFILES", "REMOTE_RUNTIME_STATE_DIR", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        world.environ.pop(name, None)
    programs = home / "bin"
    programs.mkdir()
    python = shlex.quote(sys.executable)
    (programs / "remote-runtime").write_text(f'#!/bin/sh\nexec {python} -m remote_runtime "$@"\n')
    (programs / "remote-runtime").chmod(0o755)
    world.environ["PATH"] = f"{programs}{os.pathsep}{world.environ['PATH']}"
    try:
        with cloud_machine(world, profile="my-vm", status=scene.status) as machine:
            yield world, machine
    finally:
        world.end()


# ── what goes wrong ──


def _make_five_mistakes(world: World, vm: CloudMachine) -> None:
    world.profile(
        "my-vm",
        "version: 1\n"
        "target:\n"
        "  kind: gec\n"
        "  instance: my-vm\n"
        "ssh:\n"
        "  port: 70000\n"
        "  keepalive: 15\n"
        "jupyter:\n"
        "  instal: auto\n"
        "  args: [--ServerApp.token=abc]\n",
    )


def _misspell(world: World, vm: CloudMachine) -> None:
    world.profile("my-vm", "version: 1\ntarget: {kind: gce, instanse: my-vm}\nforward: {local_port: 88888}\n")


def _rename(world: World, vm: CloudMachine) -> None:
    _edit(world, f"instance: {NAME}", "instance: my-wm")


def _do_not_start(world: World, vm: CloudMachine) -> None:
    _edit(world, f"instance: {NAME}", f"instance: {NAME}, start: false")


def _sign_out(world: World, vm: CloudMachine) -> None:
    del world.environ["CLOUDSDK_AUTH_DISABLE_CREDENTIALS"]
    del world.environ["CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE"]
    world.environ["GCE_METADATA_HOST"] = "127.0.0.1:9"  # no metadata server, as on a laptop


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


def _start(world: World, vm: CloudMachine) -> None:
    world.up("my-vm")


def _work(world: World, vm: CloudMachine) -> None:
    """A runtime with a busy page, until the scene ends."""
    page = Page(world.up("my-vm"))
    kernel = page.start_kernel()

    def visit() -> None:
        with contextlib.suppress(OSError, ValueError):  # it ends with the scene
            while True:
                page.ask("GET", "/api/kernelspecs")
                time.sleep(0.1)

    def compute() -> None:
        with contextlib.suppress(Exception):  # it ends with the scene
            page.run(kernel, "import time\nwhile True: sum(range(1_000_000)); time.sleep(0.2)")

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
WATCHED = ("my-vm", "ready")
ERRORS = (
    Scene("error-profile-not-found", "remote-runtime up my-wm", FAILED, ("profile-not-found", "my-vm")),
    Scene("error-profile-invalid", UP, FAILED, ("profile-invalid", "instanse", "88888"), _misspell),
    Scene("error-no-credentials", UP, FAILED, ("no-credentials", "gcloud auth application-default login"), _sign_out),
    Scene("error-instance-not-found", UP, FAILED, ("instance-not-found", "my-vm"), _rename),
    Scene("error-instance-stopped", UP, FAILED, ("instance-stopped", "start"), _do_not_start),
    Scene("error-permission-denied", UP, FAILED, ("permission-denied", "compute.instances.start"), _forbid),
    Scene("error-no-capacity", UP, FAILED, ("no-capacity",), _exhaust),
    Scene("error-firewall-blocked", UP, FAILED, ("firewall-blocked",), _refuse, status="RUNNING"),
    Scene("error-host-key-changed", UP, FAILED, ("host-key-changed", "SHA256:"), _change_host_keys, status="RUNNING"),
    Scene("error-jupyter-missing", UP, FAILED, ("jupyter-missing", "jupyter.python"), _no_jupyter, status="RUNNING"),
    Scene("error-port-in-use", UP, FAILED, ("port-in-use", "pid"), _take_the_port),
)
SCENES = (
    Scene("up", UP, r"token=\w+" + DONE, ("Started my-vm", "Started Jupyter", "Connect to a local runtime", "token=")),
    Scene(
        "up-new",
        "remote-runtime up demo-new",
        r"token=\w+" + DONE,
        ("does not exist", "costs nothing", "no capacity", "Created demo-vm in us-central1-b", "token="),
        columns=100,
        rows=34,
    ),
    Scene("status", "remote-runtime status", "my-vm" + DONE, ("my-vm", "ready", "STATE"), _start),
    *(
        Scene(
            f"watch-{columns}",
            "remote-runtime status --watch",
            "[▁▂▃▄▅▆▇]{14}",
            WATCHED,
            _work,
            columns=columns,
            rows=rows,
        )
        for columns, rows in ((80, 24), (140, 40))
    ),
    Scene("doctor", "remote-runtime doctor my-vm", r"All .*passed" + DONE, ("SSH", "passed"), _start, rows=60),
    Scene(
        "doctor-problem", "remote-runtime doctor my-vm", "problem" + DONE, ("SSH",), _refuse, rows=60, status="RUNNING"
    ),
    Scene(
        "check",
        "remote-runtime profiles check my-vm",
        FAILED,
        ("gec", "70000", "15s", "instal", "--ServerApp.token"),
        _make_five_mistakes,
    ),
    Scene("help", "remote-runtime --help", r"Examples" + DONE, ("Usage", "up", "doctor", "Examples"), rows=60),
    Scene(
        "new",
        "remote-runtime profiles new",
        r"Start it with " + DONE,
        ("A Compute Engine VM", "my-project", "europe-west4-a", "Name of the profile", "after: 2h"),
        _in_a_cloud,
        answers=(
            (r"connect to\?", "\n"),
            (r"Google Cloud project", "\n"),
            (r"\? VM \(", "\n"),
            (r"is billed", "y"),
            (r"or never\)", "\n"),
            (r"Packages", "\n"),
            (r"Name of the profile", "\n"),
            (r"Save as", "y"),
            (r"up my-vm` now", "n"),
        ),
        rows=40,
    ),
    *ERRORS,
)
__all__ = ["PROJECT", "SCENES", "ZONE", "Scene", "play"]
