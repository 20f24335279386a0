"""A VM whose OS Login asks for a second factor at each login: from the keeper over `up` to the person, and back."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.support.clients.page import Page
from tests.support.clients.terminal_user import Person, at_a_terminal
from tests.support.environment.waiting import eventually
from tests.support.environment.world import COMMAND, World
from tests.support.machines.gce_login_vm import Doorway, at_home, doorway
from tests.support.machines.login_methods import let_in_by
from tests.support.servers.second_factor import CODE, QUESTION, asks_for_a_code

WRONG = "314159"


@pytest.fixture
def door(world: World) -> Iterator[Doorway]:
    settings = {"enable-oslogin-2fa": "TRUE", "enable-guest-attributes": "TRUE"}
    with (
        asks_for_a_code(world.home / "box") as sshd,
        doorway(world.home / "cloud", sshd, metadata=settings) as door,
        let_in_by("OS Login", door),
    ):
        at_home(world, door)
        yield door
        world.end()


def test_a_wrong_code_is_asked_for_again_and_a_lost_connection_waits_for_a_person(world: World, door: Doorway) -> None:
    with at_a_terminal([*COMMAND, "up", "vm"], world.environ, columns=200) as person:
        person.sees(f"vm: {QUESTION} ")
        person.types(WRONG)
        person.sees(f"vm: Not accepted. {QUESTION} ")
        url = answers(person)
        again = "requires a 2FA code at each login"
        assert again in person.shown
        assert WRONG not in person.shown
    assert len(door.account.keys) == 1, "the key that the code is asked after came with it"
    page = Page(url)
    kernel = page.start_kernel()
    page.run(kernel, "x = 6 * 7")
    logins = door.sshd.logins()

    door.sshd.cut()

    eventually(lambda: world.look("vm")["state"] == "unreachable")
    assert world.look("vm")["last_error"]["code"] == "two-factor-needed"
    with at_a_terminal([*COMMAND, "up", "vm"], world.environ, columns=200) as person:
        person.sees(f"vm: {QUESTION} ")
        assert answers(person) == url
    assert page.run(kernel, "print(x)") == "42"
    assert door.sshd.logins() == logins + 1
    assert CODE not in world.log("vm")


def answers(person: Person) -> str:
    """The question on the screen, with the right code, which is not shown; the URL."""
    person.types(CODE)
    person.sees("http://localhost:")
    assert person.waits() == 0, person.shown
    assert CODE not in person.shown
    return str(re.findall(r"http://localhost:\S+", person.shown)[-1])
