"""The pace of logins that are in vain, as OpenSSH 9.8 and newer judge it: 15 s owed shut an address out."""

from __future__ import annotations

import pytest

from remote_runtime.ssh.penalties import LOGIN_PENALTY_S, Penalties

BOX = ("192.0.2.7", 22)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def owed_at_most(version: str, tries: int, takes_s: float) -> tuple[float, list[float]]:
    """The most that a server has seen owed after ``tries`` logins in vain, and the pauses before each."""
    clock = Clock()
    penalties, until, most, pauses = Penalties(clock), 0.0, 0.0, []
    for _ in range(tries):
        pauses.append(penalties.pause_s(BOX))
        clock.now += pauses[-1] + takes_s
        penalties.note_version(BOX, version)
        penalties.add(BOX, LOGIN_PENALTY_S)
        until = max(clock.now, until) + LOGIN_PENALTY_S
        most = max(most, until - clock.now)
    return most, pauses


@pytest.mark.parametrize("version", ["SSH-2.0-OpenSSH_9.8", "SSH-2.0-OpenSSH_9.9p1 Debian-3", "SSH-2.0-OpenSSH_10.0"])
@pytest.mark.parametrize("takes_s", [0.0, 0.3, 4.0])
def test_a_newer_server_is_never_owed_what_shuts_out(version: str, takes_s: float) -> None:
    most, pauses = owed_at_most(version, 40, takes_s)
    assert most < 15
    assert pauses[:2] == [0, 0], "two in a row need no pause"
    assert max(pauses) <= LOGIN_PENALTY_S, "nobody waits longer than a login costs"


@pytest.mark.parametrize("version", ["SSH-2.0-OpenSSH_9.7", "SSH-2.0-OpenSSH_8.4p1", "SSH-2.0-dropbear_2022.83"])
def test_an_older_server_is_not_waited_for(version: str) -> None:
    assert set(owed_at_most(version, 10, 0.1)[1]) == {0}


def test_one_server_does_not_pay_for_another() -> None:
    clock = Clock()
    penalties = Penalties(clock)
    for at in (BOX, ("192.0.2.8", 22)):
        penalties.note_version(at, "SSH-2.0-OpenSSH_9.9")
    for _ in range(3):
        penalties.add(BOX, LOGIN_PENALTY_S)
    assert penalties.pause_s(BOX) > 0
    assert penalties.pause_s(("192.0.2.8", 22)) == 0
