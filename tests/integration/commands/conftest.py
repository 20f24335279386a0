"""The profile `box` for an SSH host, with a real sshd."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from remote_runtime.commands.context import CommandContext, View
from remote_runtime.state import store
from tests.support.environment.world import World
from tests.support.faults.faults import know
from tests.support.servers.sshd import Sshd, make_key, running_sshd


@pytest.fixture(scope="module")
def sshd() -> Iterator[Sshd]:
    with tempfile.TemporaryDirectory(prefix="rr-box-") as directory, running_sshd(Path(directory)) as server:
        yield server


@pytest.fixture
def key(world: World, sshd: Sshd) -> Path:
    """Of a world with the profile `box`."""
    key = world.home / "key"
    make_key(key)
    sshd.authorize(key.with_suffix(".pub").read_text())
    know(world, sshd)
    target = f"target: {{kind: ssh, host: 127.0.0.1, port: {sshd.port}}}"
    world.profile("box", f"version: 1\n{target}\nssh: {{user: {sshd.user}, identity_file: {key}}}\n")
    return key


@pytest.fixture
def context(world: World, key: Path) -> CommandContext:
    """Of a command in a world with the profile `box`."""
    return CommandContext(store.open_state_dir(world.environ), world.environ, View())
