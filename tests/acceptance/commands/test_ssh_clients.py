"""Real SSH programs through `ssh-config --install`, over the keeper's connection and by each route without it."""

from __future__ import annotations

import time
from pathlib import Path

from remote_runtime.compute.login import metadata_keys
from tests.support.clients.ssh_programs import SshPrograms
from tests.support.environment.waiting import eventually
from tests.support.environment.world import World
from tests.support.faults.faults import know
from tests.support.machines.gce_login_vm import at_home, doorway
from tests.support.servers.sshd import running_sshd

USERS_CONFIG = "Host *\n  User other\n\n"


def install(world: World, name: str) -> None:
    folder = Path(world.environ["HOME"]) / ".ssh"
    folder.mkdir(mode=0o700, exist_ok=True)
    (folder / "config").write_text(USERS_CONFIG)
    done = world.run("ssh-config", name, "--install")
    assert (done.code, done.out) == (0, f"ssh rr-{name}\n"), done.err


def test_programs_use_the_connection_of_a_running_runtime(world: World) -> None:
    with running_sshd(world.home / "machine") as sshd:
        sshd.announce_address()
        know(world, sshd)
        target = f"{{kind: ssh, host: 127.0.0.1, port: {sshd.port}}}"
        settings = f"{{user: {sshd.user}, identity_file: {sshd.key_path}}}"
        path = world.profile("box", f"version: 1\ntarget: {target}\nssh: {settings}\n")
        install(world, "box")
        world.up("box")
        path.write_text(path.read_text().replace(f"port: {sshd.port}", "port: 1"))  # there is no other route
        logins = sshd.logins()
        programs = SshPrograms(world, "box", sshd.home)
        done = world.run("ssh", "box", "--json", "--", "echo here; exit 3")
        assert (done.code, done.document["stdout"]) == (3, "here\n")
        assert sshd.logins() == logins
        for program in programs.all.values():
            program()
        programs.ssh_at_once(5)
        assert sshd.logins() >= logins + 11

        path.write_text(path.read_text().replace("port: 1}", f"port: {sshd.port}}}"))
        (sshd.home / ".bashrc").unlink()  # the server does not say any more where it is
        sshd.cut()
        eventually(lambda: world.look("box")["reconnects"] == 1 and world.look("box")["state"] == "ready")
        programs.ssh()
        assert world.run("ssh-config", "--remove").code == 0
        assert (world.home / ".ssh" / "config").read_text() == USERS_CONFIG


def test_through_iap_a_key_that_has_expired_is_renewed_before_the_client_logs_in(world: World) -> None:
    with doorway(world.home / "cloud", connect="iap") as door:
        at_home(world, door)
        install(world, "vm")
        assert "google-ssh" in door.vm.metadata["ssh-keys"]
        door.expire_keys()

        SshPrograms(world, "vm", door.sshd.home).ssh()

        assert len(metadata_keys.valid_entries(door.vm.metadata["ssh-keys"], time.time())) == 1
        assert [asked.verb for asked in door.relay.requests][-1] == "connect"
        assert not world.running()


def test_a_client_goes_through_a_jump_host(world: World, tmp_path: Path) -> None:
    with running_sshd(world.home / "machine") as sshd, running_sshd(tmp_path / "bastion") as bastion:
        bastion.authorize(sshd.key_path.with_suffix(".pub").read_text())
        know(world, sshd, bastion)
        jump = f"{bastion.user}@127.0.0.1:{bastion.port}"
        target = f"{{kind: ssh, host: 127.0.0.1, port: {sshd.port}, jump: ['{jump}']}}"
        settings = f"{{user: {sshd.user}, identity_file: {sshd.key_path}}}"
        world.profile("far", f"version: 1\ntarget: {target}\nssh: {settings}\n")
        install(world, "far")
        SshPrograms(world, "far", sshd.home).ssh()
        assert (bastion.logins(), sshd.logins()) == (1, 1)
