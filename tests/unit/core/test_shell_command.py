from __future__ import annotations

import shlex

from hypothesis import given
from hypothesis import strategies as st

from remote_runtime.core.shell_command import shell_command


@given(st.lists(st.text(st.characters(codec="utf-8"))))
def test_a_shell_reads_back_the_words(words: list[str]) -> None:
    assert shlex.split(shell_command("cmd", *words)[1:-1]) == ["cmd", *words]


def test_placeholders_and_the_home_folder_are_left_to_the_reader_and_the_shell() -> None:
    assert shell_command("chmod", "600", "~/my keys/id") == "`chmod 600 ~/'my keys/id'`"
    assert shell_command("remote-runtime", "up", "PROFILE") == "`remote-runtime up PROFILE`"
