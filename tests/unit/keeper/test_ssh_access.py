"""The keeper connects SSH clients, and renews a key that has expired before."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from remote_runtime.core.access import InstalledKey, LoginAccess, SshServerAddress
from remote_runtime.core.deadline import Deadline
from remote_runtime.core.errors import CloudError, SshError
from remote_runtime.core.model import Instance, Runtime
from remote_runtime.core.profile import Profile, SshTarget
from remote_runtime.keeper.ssh_access import ConnectedKeeper, SshAccess
from remote_runtime.targets import LoginOptions

KEY = InstalledKey("metadata", "me", "ssh-ed25519 AAAA", 0, "vm", "1", "z", "p")


class Session:
    """Is where ``address`` says; its connections fail."""

    closed = False

    def __init__(self, address: SshServerAddress | None) -> None:
        self._address = address

    def ssh_server(self, deadline: Deadline) -> SshServerAddress | None:
        return self._address

    def close(self) -> None:
        """It was a login of its own."""


@dataclass
class Keeper:
    """``fails``: with what a login ends that comes after the key was installed."""

    instance: Instance
    session: Session
    fails: Exception | None = None
    logins: list[LoginOptions] = field(default_factory=list)
    keys: tuple[InstalledKey, ...] = ()

    profile = Profile("vm", Path("vm.yaml"), SshTarget("unused"))

    @property
    def runtime(self) -> Runtime:
        return cast("Runtime", _Record(self.instance, self.keys))

    @property
    def record(self) -> Keeper:
        return self

    @property
    def resources(self) -> Keeper:
        return self

    def update(self, **changes: Any) -> None:
        for name, value in changes.items():
            setattr(self, name, value)

    def target(self) -> Keeper:
        return self

    def connect(self, instance: Instance, options: LoginOptions) -> Session:
        assert instance.access is not None
        assert instance.access.until == 0.0
        self.logins.append(options)
        policy = options.key_policy
        assert policy is not None
        assert policy.renew
        if isinstance(self.fails, CloudError):
            raise self.fails
        policy.before_install((KEY,))
        policy.after_install(LoginAccess("metadata", "me", (KEY.key,), time.time() + 3600), (KEY,))
        if self.fails is not None:
            raise self.fails
        return self.session


@dataclass(frozen=True)
class _Record:
    instance: Instance
    keys: tuple[InstalledKey, ...]
    name: str = "vm"


class Channel:
    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    def send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)


def vm(until: float | None) -> Instance:
    return Instance("gce", "vm", id="1", access=LoginAccess("metadata", "me", ("ssh-ed25519 AAAA",), until))


def connect(keeper: Keeper, access: SshAccess | None = None) -> list[dict[str, Any]]:
    channel = Channel()
    with contextlib.suppress(AttributeError):  # the session makes no connections
        (access or SshAccess())(
            cast("ConnectedKeeper", keeper), cast("Any", channel), {"op": "connect-ssh", "within_s": 0}
        )
    return channel.sent


AT = SshServerAddress("10.0.0.2", 22, "ssh-ed25519 BBBB")
EXPIRED: Callable[[], float] = lambda: time.time() - 5  # noqa: E731  # read at the call


def test_one_of_ten_clients_renews_an_expired_key_and_it_is_recorded() -> None:
    keeper = Keeper(vm(EXPIRED()), Session(None))
    access = SshAccess()
    with ThreadPoolExecutor(10) as pool:
        list(pool.map(lambda _: connect(keeper, access), range(10)))
    assert len(keeper.logins) == 1
    assert keeper.keys == (KEY,)
    assert keeper.instance.access is not None
    assert (keeper.instance.access.until or 0) > time.time() + 3000


@pytest.mark.parametrize("until", [None, 4e9])
def test_a_valid_key_is_left_alone(until: float | None) -> None:
    keeper = Keeper(vm(until), Session(None))
    connect(keeper)
    assert keeper.logins == []


def test_a_machine_that_wants_a_code_has_accepted_the_key() -> None:
    keeper = Keeper(vm(EXPIRED()), Session(None), fails=SshError("two-factor-needed", "a code"))
    (failed,) = connect(keeper)
    assert failed["error"]["code"] == "not-up", "only the address is not known"


def test_a_key_that_cannot_be_added_is_the_clients_error() -> None:
    keeper = Keeper(vm(EXPIRED()), Session(AT), fails=CloudError("no-credentials", "no"))
    (failed,) = connect(keeper)
    assert (failed["event"], failed["error"]["code"]) == ("failed", "no-credentials")
