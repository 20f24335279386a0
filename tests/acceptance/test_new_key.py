"""A VM that knows no key of ours, from `up` to `down --purge`."""

from __future__ import annotations

from tests.support.doorway import NAME, PROJECT, doorway
from tests.support.page import Page
from tests.support.world import World


def test_a_key_comes_with_up_and_goes_with_purge_after_the_keeper_died(world: World) -> None:
    with doorway(world.home / "cloud") as door:
        world.environ |= {name: value for name, value in door.environ.items() if name.startswith("CLOUDSDK_")}
        world.environ["CLOUDSDK_CORE_PROJECT"] = PROJECT
        target = f"{{kind: gce, instance: {NAME}, connect: external}}"
        world.profile("vm", f"version: 1\ntarget: {target}\nssh: {{port: {door.sshd.port}}}\n")
        before = dict(door.vm.metadata)

        page = Page(world.up("vm"))

        assert page.run(page.start_kernel(), "print(6*7)") == "42"
        assert "google-ssh" in door.vm.metadata["ssh-keys"]
        assert len(world.file("vm")["keys"]) == 1
        world.keeper("vm").kill()
        done = world.run("down", "vm", "--purge", "--json")
        assert done.code == 0, done.err
        assert door.vm.metadata == before
        assert not (door.sshd.home / ".local" / "share" / "remote-runtime").exists()
        world.end()
