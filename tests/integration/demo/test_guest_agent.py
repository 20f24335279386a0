"""Whom an emulated machine lets in: metadata, the project's, what expires, OS Login."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any

import pytest

from remote_runtime.demo.gcp_api.emulator import ComputeEmulator
from remote_runtime.demo.gcp_api.values import Delays, Vm

KEY, OTHER = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA==", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIQ=="
ME = "me@example.com"
QUICK = Delays(queue_s=0.0, start_s=0.0, stop_s=0.0, metadata_s=0.0, boot_s=0.0)


class Door:
    """What the machine was told last."""

    def __init__(self) -> None:
        self.entries: Mapping[str, Sequence[str]] | None = None

    def __call__(self, entries: Mapping[str, Sequence[str]]) -> None:
        self.entries = entries

    def comes_to(self, entries: Mapping[str, Sequence[str]], within_s: float = 20.0) -> bool:
        until = time.monotonic() + within_s
        while self.entries != entries and time.monotonic() < until:
            time.sleep(0.01)
        return self.entries == entries


@contextmanager
def machine(metadata: Mapping[str, str], project: Mapping[str, str] | None = None, **options: Any) -> Iterator[Any]:
    door = Door()
    vm = Vm("vm", status="RUNNING", metadata=metadata, authorize=door, **options)
    with ComputeEmulator([vm], project_metadata={"demo": project or {}}, delays=QUICK) as emulator:
        yield emulator.cloud, door


def entry(user: str, key: str, expires: float) -> str:
    on = datetime.fromtimestamp(expires, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S+0000")
    return f'{user}:{key} google-ssh {{"userName":"{user}","expireOn":"{on}"}}'


@pytest.mark.parametrize(
    ("instance", "project", "users"),
    [
        ({}, {}, []),
        ({"ssh-keys": f"a:{KEY} a@home\n\nb:{KEY}\r\nnonsense"}, {}, ["a", "b"]),
        ({"ssh-keys": f"a:{KEY}"}, {"ssh-keys": f"p:{KEY}", "sshKeys": f"q:{KEY}"}, ["a", "p", "q"]),
        ({"ssh-keys": f"a:{KEY}", "block-project-ssh-keys": "TRUE"}, {"ssh-keys": f"p:{KEY}"}, ["a"]),
        ({"ssh-keys": f"a:{KEY}", "sshKeys": f"b:{KEY}"}, {"ssh-keys": f"p:{KEY}"}, ["a", "b"]),
        ({"ssh-keys": f'a:{KEY} google-ssh {{"userName":"a","expireOn":"2020-01-02T03:04:05+0000"}}'}, {}, []),
        ({"ssh-keys": f'a:{KEY} google-ssh {{"userName":"a"}}'}, {}, []),
        ({"ssh-keys": f"a:{KEY}"}, {"enable-oslogin": "TRUE"}, []),
        ({"ssh-keys": f"a:{KEY}", "enable-oslogin": "FALSE"}, {"enable-oslogin": "TRUE"}, ["a"]),
    ],
)
def test_metadata_lets_in_as_googles_guest_agent_reads_it(
    instance: Mapping[str, str], project: Mapping[str, str], users: list[str]
) -> None:
    with machine(instance, project) as (_, door):
        assert door.comes_to({user: [KEY] for user in users})


def test_a_key_is_let_in_when_it_is_added_and_no_more_when_it_expires() -> None:
    with machine({}) as (cloud, door):
        assert door.comes_to({})
        instance = cloud.instances[0]
        # whole seconds, at least one
        line = entry("a", KEY, time.time() + 2)
        cloud.set_metadata(instance, {"ssh-keys": line}, instance.metadata_fingerprint())
        assert door.comes_to({"a": [KEY]})
        assert door.comes_to({})


@pytest.mark.parametrize("change", [lambda person: person.keys.clear(), lambda person: person.accounts.clear()])
def test_os_login_lets_in_who_has_an_account_and_a_key_and_the_role(change: Callable[[Any], None]) -> None:
    with machine({"enable-oslogin": "TRUE"}) as (cloud, door):
        assert door.comes_to({})
        with cloud.changed:
            cloud.os_login.provision(ME, "demo")
            cloud.os_login.import_key(ME, KEY, None)
            cloud.os_login.import_key(ME, OTHER, None)
            cloud.changed.notify_all()
        assert door.comes_to({"me_example_com": [KEY, OTHER]})
        with cloud.changed:
            change(cloud.os_login.user(ME))
            cloud.changed.notify_all()
        assert door.comes_to({})
