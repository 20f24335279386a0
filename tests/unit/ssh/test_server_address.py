"""Where a machine's SSH server is, by SSH_CONNECTION there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from remote_runtime.core.callbacks import CommandResult
from remote_runtime.core.deadline import Deadline
from remote_runtime.core.errors import DeadlinePassed
from remote_runtime.ssh.server_address import ServerAddress, parse_connection


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (["10.0.0.1 50000 10.128.0.2 22"], ("10.128.0.2", 22)),
        (["Welcome!", "", "::1 1 fe80::1%eth0 2222"], ("fe80::1%eth0", 2222)),
        (["UNKNOWN 65535 UNKNOWN 65535"], None),
        (["UNKNOWN 65535  65535"], None),
        (["10.0.0.1 50000 example.com 22"], None),
        (["10.0.0.1 50000 10.128.0.2 0"], None),
        (["10.0.0.1 50000 10.128.0.2 ²2"], None),
        (["10.0.0.1 50000 10.128.0.2 22 22"], None),
        ([""], None),
        ([], None),
    ],
)
def test_only_an_address_and_a_port_are_taken(lines: list[str], found: tuple[str, int] | None) -> None:
    assert parse_connection(lines) == found


class Machine:
    """Answers after ``failures`` time-outs."""

    def __init__(self, failures: int = 0) -> None:
        self.asked = 0
        self._failures = failures

    def run(
        self,
        command: Sequence[str],
        *,
        stdin: bytes,
        on_line: Callable[[str], bool | None],
        deadline: Deadline,
        reply: Callable[[], bytes | None] | None = None,
    ) -> CommandResult:
        self.asked += 1
        if self.asked <= self._failures:
            raise DeadlinePassed("no answer")
        on_line("10.0.0.1 50000 10.128.0.2 22")
        return CommandResult(0)


def test_the_machine_is_asked_once_for_ten_connections() -> None:
    machine = Machine()
    address = ServerAddress(machine.run)
    with ThreadPoolExecutor(10) as pool:
        found = list(pool.map(lambda _: address.find(Deadline(5)), range(10)))
    assert (found, machine.asked) == ([("10.128.0.2", 22)] * 10, 1)


def test_a_machine_that_did_not_answer_is_asked_again() -> None:
    address = ServerAddress(Machine(failures=1).run)
    with pytest.raises(DeadlinePassed):
        address.find(Deadline(5))
    assert address.find(Deadline(5)) == ("10.128.0.2", 22)
