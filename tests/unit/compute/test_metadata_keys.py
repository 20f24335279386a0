"""``ssh-keys`` metadata: one line of ours comes and goes, every other byte stays."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remote_runtime.compute.login import metadata_keys

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA=="
NOW = 1_900_000_000.0
LINE = metadata_keys.format_entry("me", KEY, int(NOW) + 3600)
EXPIRED = metadata_keys.format_entry("me", KEY, int(NOW) - 1)
OTHERS = [
    "",
    "them:ssh-rsa AAAAB3NzaC1yc2E= them@home",
    "  indented:ssh-rsa AAAAB3NzaC1yc2E=  ",
    "windows:ssh-rsa AAAAB3NzaC1yc2E=\r",
    "no key at all",
    f"me:{KEY}",
    f"me:{KEY} me@laptop",
    metadata_keys.format_entry("other", "ssh-rsa AAAAB3NzaC1yc2E=", int(NOW) - 1),
    f'me:{KEY} google-ssh {{"userName":"me"}}',
]


def test_the_entry_is_as_the_guest_and_the_console_want_it() -> None:
    text = metadata_keys.format_entry("me", KEY, 1_893_553_445)
    assert text == f'me:{KEY} google-ssh {{"userName":"me","expireOn":"2030-01-02T03:04:05+0000"}}'
    assert metadata_keys.parse_entry(text) == metadata_keys.KeyEntry("me", KEY, 1_893_553_445.0)


@pytest.mark.parametrize(
    "value", [None, "", "\n", "a:ssh-rsa A=", "a:ssh-rsa A=\n", "a:ssh-rsa A=\n\nb:ssh-rsa B=\r\n"]
)
def test_an_entry_comes_last_and_leaves_no_trace(value: str | None) -> None:
    added = metadata_keys.with_entry(value, LINE, without=(), key=KEY, now=NOW)
    assert added.split("\n").count(LINE) == 1
    assert added.startswith(value or "")
    assert metadata_keys.without_entries(added, [LINE]) == value


@given(st.lists(st.sampled_from(OTHERS), max_size=6), st.lists(st.sampled_from([*OTHERS, EXPIRED]), max_size=6))
def test_what_others_write_before_and_after_stays(before: list[str], after: list[str]) -> None:
    value = metadata_keys.with_entry("\n".join(before), LINE, without=(), key=KEY, now=NOW)
    value = "\n".join([value.removesuffix("\n"), *after])
    left = metadata_keys.without_entries(value, [LINE], key=KEY, now=NOW)
    kept = [line for line in after if line != EXPIRED]
    assert [line for line in (left or "").split("\n") if line] == [line for line in [*before, *kept] if line]


def test_an_entry_replaces_our_former_one_and_what_has_expired_of_our_key() -> None:
    former = metadata_keys.format_entry("me", KEY, int(NOW) + 60)
    value = "\n".join(["a:ssh-rsa A=", EXPIRED, former, "b:ssh-rsa B="])
    changed = metadata_keys.with_entry(value, LINE, without=[former], key=KEY, now=NOW)
    assert changed == "\n".join(["a:ssh-rsa A=", "b:ssh-rsa B=", LINE])


@pytest.mark.parametrize("line", OTHERS[-2:])
def test_what_expired_or_cannot_be_read_does_not_count(line: str) -> None:
    assert metadata_keys.valid_entries(line, NOW) == []
