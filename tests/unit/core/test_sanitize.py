from __future__ import annotations

import time

import pytest

from remote_runtime.core.sanitize import clean, clean_line


@pytest.mark.parametrize(
    ("hostile", "harmless"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]52;c;cGFzdGU=\x1b\\text", "text"),
        ("\x9b2Jcleared", "cleared"),
        ("\x1bPq#0\x1b\\sixel", "sixel"),
        ("a\x00b\x08c\x7fd\x85e", "abcd\ne"),
        ("50 %\rdone\r\nnext", "50 %\ndone\nnext"),
        ("\u202egnp.exe", "gnp.exe"),
        ("half \ud800 pair", "half  pair"),
        ("[bold]kept[/bold]\tas it is", "[bold]kept[/bold]\tas it is"),
        ("\x1b]8;;http://never.ending", ""),
    ],
)
def test_what_a_terminal_would_obey_is_removed(hostile: str, harmless: str) -> None:
    assert clean(hostile, 200) == harmless


def test_long_text_is_cut_and_says_so() -> None:
    assert clean("x" * 50, 10) == "x" * 9 + "…"
    assert clean("x" * 10, 10) == "x" * 10
    assert clean("x", 0) == ""


def test_megabytes_of_escape_sequences_cost_no_time() -> None:
    started = time.monotonic()
    assert len(clean("\x1b[" * 5_000_000, 100)) <= 100
    assert len(clean("\x1b]" * 5_000_000, 100)) <= 100
    assert time.monotonic() - started < 20.0


def test_a_value_for_a_sentence_is_one_line() -> None:
    assert clean_line("two\nlines\tand  spaces \x1b[1m", 100) == "two lines and spaces"
