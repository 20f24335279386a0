"""Which way is taken to an instance that has an external address, and how long each has."""

from __future__ import annotations

import pytest

from remote_runtime.core.deadline import Deadline
from remote_runtime.core.errors import CloudError, DeadlinePassed, RemoteRuntimeError, SshError
from remote_runtime.core.model import Instance
from remote_runtime.targets import routes

VM = Instance("gce", "my-vm", address="192.0.2.7", via="external")
SILENT = SshError("ssh-unreachable", "Nothing answers at 192.0.2.7", "no answer within 8 s")


class Ways:
    """What happens on each way, and what was tried: the way, and within how many seconds it had to answer."""

    def __init__(self, external: RemoteRuntimeError | None, iap: RemoteRuntimeError | None = None) -> None:
        self.happens = {"external": external, "iap": iap}
        self.tried: list[tuple[str | None, float | None]] = []
        self.told: list[str] = []

    def enter(self, at: Instance, answers_within_s: float | None) -> str:
        self.tried.append((at.via, answers_within_s))
        if error := self.happens[at.via or ""]:
            raise error
        return f"inside, by {at.via}"

    def tell(self, text: str) -> None:
        self.told.append(text)

    def go(self, instance: Instance = VM, within_s: float = 60.0) -> str:
        return routes.connect_external_or_iap(self.enter, instance, self.tell, Deadline(within_s))


def test_a_machine_that_answers_is_entered_there() -> None:
    ways = Ways(external=None)
    assert (ways.go(), ways.tried) == ("inside, by external", [("external", routes.EXTERNAL_TIMEOUT_S)])


def test_a_machine_that_boots_is_given_longer() -> None:
    ways = Ways(external=None)
    ways.go(Instance("gce", "my-vm", address="192.0.2.7", via="external", started_from="TERMINATED"))
    assert ways.tried == [("external", routes.EXTERNAL_BOOT_TIMEOUT_S)]


def test_a_machine_that_is_silent_is_entered_through_iap_and_that_is_said() -> None:
    ways = Ways(external=SILENT)
    assert ways.go() == "inside, by iap"
    assert ways.tried == [("external", routes.EXTERNAL_TIMEOUT_S), ("iap", None)]
    assert "Identity-Aware Proxy" in ways.told[0]


@pytest.mark.parametrize(
    "error", [SshError("no-usable-key", "Permission denied (publickey) as me"), DeadlinePassed("it took too long")]
)
def test_what_a_machine_that_answers_says_is_no_reason_for_iap(error: RemoteRuntimeError) -> None:
    ways = Ways(external=error)
    with pytest.raises(type(error)) as caught:
        ways.go()
    assert caught.value is error
    assert len(ways.tried) == 1


def test_without_time_for_both_the_address_has_all_of_it() -> None:
    ways = Ways(external=SILENT)
    with pytest.raises(SshError):
        ways.go(within_s=routes.EXTERNAL_TIMEOUT_S)
    assert ways.tried == [("external", None)]


@pytest.mark.parametrize(
    "second",
    [
        SshError("iap-refused", "Identity-Aware Proxy refuses", "a role is missing", "Ask for the role"),
        CloudError("no-credentials", "No usable Google credentials", "there are none"),
    ],
)
def test_a_closed_way_through_iap_leaves_the_first_error_with_both_reasons(second: RemoteRuntimeError) -> None:
    with pytest.raises(routes.ExternalAndIapFailed) as caught:
        Ways(external=SILENT, iap=second).go()
    assert caught.value.code == "ssh-unreachable"
    assert caught.value.through_iap is second
    assert SILENT.why in caught.value.why
    assert second.why in caught.value.why


def test_what_the_machine_says_through_iap_is_what_is_told() -> None:
    second = SshError("host-key-changed", "The host key of my-vm has changed")
    with pytest.raises(SshError) as caught:
        Ways(external=SILENT, iap=second).go()
    assert caught.value is second
