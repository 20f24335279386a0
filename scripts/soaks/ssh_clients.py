"""Every SSH program through `ssh-config --install`, by every route, with and without a runtime; and its speed."""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.support.clients.ssh_programs import SshPrograms
from tests.support.environment.waiting import eventually
from tests.support.environment.world import World
from tests.support.faults.faults import know
from tests.support.machines.gce_login_vm import Way, at_home, doorway
from tests.support.servers.sshd import Sshd, running_sshd

USERS_CONFIG = b"# mine\r\nHost *\n\tUser other"
KEY_LIFETIME_S = 60


@dataclass(frozen=True)
class Place:
    """``accepted``: the file of the public keys that the machine accepts."""

    programs: SshPrograms
    accepted: Path


Scene = Callable[[World], contextlib.AbstractContextManager[Place]]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/soak ssh-clients", description=__doc__)
    parser.add_argument("--size", type=int, default=300, metavar="MB", help="of the file for the comparison of speed")
    parser.add_argument("--number", type=int, default=10, help="of connections at once")
    parser.add_argument("--scene", choices=list(SCENES), action="append", help="only this one; repeatable")
    given = parser.parse_args(arguments)
    failures = 0
    for name in given.scene or list(SCENES):
        for is_up in (False, True):
            failures += _run(name, SCENES[name], given.number, is_up=is_up)
    if given.size and not given.scene:
        _compare(given.size)
    tell(f"{failures} failures")
    return int(failures > 0)


def _run(name: str, scene: Scene, number: int, *, is_up: bool) -> int:
    """How many programs failed."""
    failures = 0
    with _world() as world, scene(world) as place:
        programs = place.programs
        config = _install(world, programs.name)
        if is_up:
            world.up(programs.name)
        todo: dict[str, Callable[[], None]] = {
            **programs.all,
            "ansible": programs.ansible,
            f"{number} at once": partial(programs.ssh_at_once, number),
        }
        if name == "expired-key":
            todo = {"4 at once": partial(_use_expired_key, place)}
        for program, run in todo.items():
            start = time.monotonic()
            try:
                run()
                end = f"ok, {time.monotonic() - start:.1f} s"
            except (AssertionError, subprocess.SubprocessError) as error:
                failures += 1
                end = f"FAILED: {error}"
            tell(f"{name}, {'over the keeper' if is_up else 'without a runtime'}, {program}: {end}")
        world.run("ssh-config", "--remove")
        if config.read_bytes() != USERS_CONFIG:
            failures += 1
            tell("FAILED: ~/.ssh/config is not as it was")
    return failures


@contextlib.contextmanager
def _world() -> Iterator[World]:
    with tempfile.TemporaryDirectory(prefix="rr-") as home:
        world = World(Path(home))
        try:
            yield world
        finally:
            world.end()


def _install(world: World, name: str) -> Path:
    config = Path(world.environ["HOME"]) / ".ssh" / "config"
    config.parent.mkdir(mode=0o700, exist_ok=True)
    config.write_bytes(USERS_CONFIG)
    done = world.run("ssh-config", name, "--install")
    if done.code != 0:
        raise SystemExit(done.err)
    return config


def _vm(way: Way, settings: str = "") -> Scene:
    @contextlib.contextmanager
    def scene(world: World) -> Iterator[Place]:
        with doorway(world.home / "cloud", connect=way) as door:
            door.sshd.announce_address()
            at_home(world, door, settings)
            yield Place(SshPrograms(world, "vm", door.sshd.home), door.sshd.directory / "authorized_keys")
            world.end()

    return scene


@contextlib.contextmanager
def _far(world: World) -> Iterator[Place]:
    with running_sshd(world.home / "machine") as sshd, running_sshd(world.home / "bastion") as bastion:
        sshd.announce_address()
        bastion.authorize(sshd.key_path.with_suffix(".pub").read_text())
        know(world, sshd, bastion)
        _write_profile(world, "far", sshd, f", jump: ['{bastion.user}@127.0.0.1:{bastion.port}']")
        yield Place(SshPrograms(world, "far", sshd.home), sshd.directory / "authorized_keys")
        world.end()


def _write_profile(world: World, name: str, sshd: Sshd, more: str = "") -> None:
    target = f"{{kind: ssh, host: 127.0.0.1, port: {sshd.port}{more}}}"
    settings = f"{{user: {sshd.user}, identity_file: {sshd.key_path}}}"
    world.profile(name, f"version: 1\ntarget: {target}\nssh: {settings}\n")


SCENES: dict[str, Scene] = {
    "external": _vm("external"),
    "iap": _vm("iap"),
    "jump": _far,
    "expired-key": _vm("external", f", key_lifetime: {KEY_LIFETIME_S}s"),
}


def _use_expired_key(place: Place) -> None:
    """One of several clients renews the key."""
    eventually(lambda: not place.accepted.read_text(), within_s=2 * KEY_LIFETIME_S, what="the machine refuses the key")
    place.programs.ssh_at_once(4)
    keys = place.accepted.read_text().count("ssh-")
    if keys != 1:
        raise AssertionError(f"{keys} keys are on the machine")


def _compare(megabytes: int) -> None:
    """One file up and down with scp and rsync: over the keeper, by a route of its own, and with ssh alone."""
    with _world() as world, running_sshd(world.home / "machine") as sshd:
        sshd.announce_address()
        know(world, sshd)
        _write_profile(world, "box", sshd)
        config = _install(world, "box")
        direct = f"HostName 127.0.0.1\n  Port {sshd.port}\n  User {sshd.user}\n  IdentityFile {sshd.key_path}\n"
        known = f"  UserKnownHostsFile {world.home}/.ssh/known_hosts\n"
        include, _, rest = config.read_bytes().partition(b"\n")
        config.write_bytes(include + f"\nHost direct\n  {direct}{known}".encode() + rest)
        file, there, back = world.home / "file", sshd.home / "file", world.home / "back"
        with file.open("wb") as opened:
            for _ in range(megabytes):
                opened.write(os.urandom(1_000_000))
        for how, host in (("direct", "direct"), ("own route", "rr-box"), ("keeper", "rr-box")):
            if how == "keeper":
                world.up("box")
            for words in (["scp", "-q", "-F", str(config)], ["rsync", "-e", f"ssh -F {shlex.quote(str(config))}"]):
                times = []
                for source, target in ((str(file), f"{host}:{there}"), (f"{host}:{there}", str(back))):
                    start = time.monotonic()
                    subprocess.run([*words, source, target], env=world.environ, check=True, timeout=600)
                    times.append(megabytes / (time.monotonic() - start))
                    back.unlink(missing_ok=True)
                there.unlink()
                tell(f"{megabytes} MB, {words[0]}, {how}: up {times[0]:.0f} MB/s, down {times[1]:.0f} MB/s")


def tell(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
