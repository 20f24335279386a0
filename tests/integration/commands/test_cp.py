"""`cp` through a real sshd: with a login of its own, and over the connection of a runtime, also when that is cut."""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from remote_runtime.commands.context import CommandContext, View
from remote_runtime.commands.cp import CopyProgress, FailedPath, copy
from remote_runtime.core.errors import Interrupted, SshError, UsageError
from remote_runtime.state import store
from tests.support.environment.world import World
from tests.support.faults.faults import know
from tests.support.servers.sshd import Sshd, make_key, running_sshd

SIZE = 40 << 20


@pytest.fixture(scope="module")
def sshd() -> Iterator[Sshd]:
    with tempfile.TemporaryDirectory(prefix="rr-box-") as directory, running_sshd(Path(directory)) as server:
        yield server


def context_for(world: World, server: Sshd) -> CommandContext:
    """With the profile `box` for an SSH host."""
    key = world.home / "key"
    make_key(key)
    server.authorize(key.with_suffix(".pub").read_text())
    know(world, server)
    target = f"target: {{kind: ssh, host: 127.0.0.1, port: {server.port}}}"
    world.profile("box", f"version: 1\n{target}\nssh: {{user: {server.user}, identity_file: {key}}}\n")
    return CommandContext(store.open_state_dir(world.environ), world.environ, View())


@pytest.fixture
def context(world: World, sshd: Sshd) -> CommandContext:
    return context_for(world, sshd)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def when_begun(act: Callable[[], object]) -> Callable[[CopyProgress], None]:
    """Calls ``act`` once, when the first bytes have arrived."""
    begun = threading.Event()

    def on_progress(progress: CopyProgress) -> None:
        if progress.bytes and not begun.is_set():
            begun.set()
            threading.Thread(target=act).start()

    return on_progress


def test_a_folder_goes_there_and_back_with_a_login_of_its_own(
    world: World, sshd: Sshd, context: CommandContext
) -> None:
    source = world.home / "source"
    (source / "sub").mkdir(parents=True)
    (source / "sub" / "file").write_bytes(os.urandom(3 << 20))
    for number in range(300):
        (source / f"file-{number}").write_text(str(number))
    logins = sshd.logins()
    up = copy([str(source)], "box:copy", context, recursive=True)
    down = copy(["box:copy"], str(world.home / "back"), context, recursive=True)
    assert (up.name, up.files, up.failed) == ("box", 301, ())
    assert (down.files, down.bytes) == (301, up.bytes)
    assert digest(world.home / "back/sub/file") == digest(source / "sub/file")
    assert sorted(os.listdir(world.home / "back")) == sorted(os.listdir(source))
    assert sshd.logins() == logins + 2
    assert not world.running()


def test_a_pattern_and_a_home_folder_are_those_of_the_machine(
    world: World, sshd: Sshd, context: CommandContext
) -> None:
    (sshd.home / "logs").mkdir()
    for name in ("a.txt", "b.txt", "c.csv"):
        (sshd.home / "logs" / name).write_text(name)
    target = world.home / "target"
    target.mkdir()
    result = copy(["box:~/logs/*.txt", "box:absent"], str(target), context, recursive=False)
    assert sorted(os.listdir(target)) == ["a.txt", "b.txt"]
    assert result.failed == (FailedPath("absent", "No such file or directory"),)


def test_ctrl_c_leaves_no_file_under_the_final_name(world: World, sshd: Sshd, context: CommandContext) -> None:
    large = world.home / "large"
    large.write_bytes(os.urandom(SIZE))
    with pytest.raises(Interrupted):
        copy([str(large)], "box:cancelled", context, recursive=False, on_progress=when_begun(context.cancelled.set))
    assert not (sshd.home / "cancelled").exists()
    assert (left := list(sshd.home.glob(".cancelled.*.part")))
    again = CommandContext(context.state, context.environ, View())
    assert copy([str(large)], "box:cancelled", again, recursive=False, resume=True).bytes == SIZE
    assert digest(sshd.home / "cancelled") == digest(large)
    assert not left[0].exists()


def test_a_copy_continues_when_the_runtime_has_reconnected(world: World, sshd: Sshd, context: CommandContext) -> None:
    world.up("box")
    large = world.home / "large"
    large.write_bytes(os.urandom(SIZE))
    up = copy([str(large)], "box:large", context, recursive=False, on_progress=when_begun(sshd.cut))
    down = copy(["box:large"], str(world.home / "back"), context, recursive=False, on_progress=when_begun(sshd.cut))
    assert (up.failed, down.failed) == ((), ())
    assert digest(sshd.home / "large") == digest(large) == digest(world.home / "back")
    logins = sshd.logins()
    copy([str(large)], "box:", context, recursive=False)
    assert sshd.logins() == logins
    until = time.monotonic() + 20
    while any("dispatch" in line for line in world.running()):
        assert time.monotonic() < until
        time.sleep(0.1)


def test_a_server_that_forwards_nothing_is_named(world: World, tmp_path: Path) -> None:
    with running_sshd(tmp_path / "strict", config=["DisableForwarding yes"]) as strict:
        context = context_for(world, strict)
        with pytest.raises(SshError) as refused:
            copy(["box:x"], str(tmp_path), context, recursive=False)
    assert refused.value.code == "forwarding-disabled"


def test_an_unknown_profile_is_refused(context: CommandContext) -> None:
    with pytest.raises(UsageError) as refused:
        copy(["nobody:x"], ".", context, recursive=False)
    assert refused.value.code == "profile-not-found"
