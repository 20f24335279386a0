"""Which commands sudo runs without a password, read from what ``sudo -l`` lists (sudo 1.9.13)."""

from __future__ import annotations

import pytest

from remote_runtime.jupyter.remote.shutdown import needs_no_password

POWEROFF = ["/usr/bin/systemctl", "poweroff"]
HEAD = """Matching Defaults entries for me on vm:
    env_reset, mail_badpass, use_pty

User me may run the following commands on vm:
"""


@pytest.mark.parametrize(
    ("rules", "free"),
    [
        (["(ALL : ALL) NOPASSWD: ALL"], True),
        (["(root) NOPASSWD: /usr/bin/systemctl"], True),
        (["(ALL) NOPASSWD: SETENV: /usr/bin/id, /usr/bin/systemctl poweroff"], True),
        (["(ALL : ALL) ALL", "(ALL : ALL) NOPASSWD: ALL"], True),
        (["(ALL : ALL) NOPASSWD: ALL", "(ALL : ALL) ALL"], False),
        (["(ALL : ALL) ALL", "(root) NOPASSWD: /usr/bin/id"], False),
        (["(root) NOPASSWD: /usr/bin/id, PASSWD: /usr/bin/systemctl poweroff"], False),
        (["(postgres) NOPASSWD: ALL"], False),
        (["(root) NOPASSWD: /usr/bin/systemctl reboot"], False),
        ([], False),
    ],
)
def test_a_command_is_free_by_the_last_rule_that_matches(rules: list[str], free: bool) -> None:
    assert needs_no_password(HEAD + "".join(f"    {rule}\n" for rule in rules), POWEROFF) is free


def test_what_is_no_list_promises_nothing() -> None:
    assert not needs_no_password("", POWEROFF)
    assert not needs_no_password("Sorry, user me may not run sudo on vm.", POWEROFF)
