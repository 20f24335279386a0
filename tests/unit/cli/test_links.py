"""Links: of OSC 8 where the terminal shows them, else as addresses; and where the project's site is one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.cli.test_output import on_a_terminal

CODE = "from remote_runtime.cli.output.theme import link; print(link('page', 'https://host/page'))"
LINK = "\x1b]8;;https://host/page\x1b\\page\x1b]8;;\x1b\\"
# The terminal of whoever runs the tests shall not decide them.
NONE = dict.fromkeys(("TERM_PROGRAM", "TMUX", "STY", "VTE_VERSION", "WT_SESSION", "KONSOLE_VERSION", "DOMTERM"), "")


@pytest.mark.parametrize(
    ("environ", "shown"),
    [
        ({}, False),
        ({"TERM_PROGRAM": "iTerm.app"}, True),
        ({"TERM_PROGRAM": "Apple_Terminal"}, False),
        ({"TERM": "xterm-kitty"}, True),
        ({"VTE_VERSION": "7600"}, True),
        ({"VTE_VERSION": "4999"}, False),
        ({"WT_SESSION": "1"}, True),
        ({"WT_SESSION": "1", "TMUX": "/tmp/tmux"}, False),
        ({"WT_SESSION": "1", "NO_COLOR": "1"}, False),
        ({"WT_SESSION": "1", "FORCE_HYPERLINK": "0"}, False),
        ({"TMUX": "/tmp/tmux", "FORCE_HYPERLINK": "1"}, True),
    ],
    ids=str,
)
def test_a_terminal_that_shows_links_gets_one(environ: dict[str, str], shown: bool) -> None:
    expected = LINK if shown else "https://host/page"
    assert on_a_terminal(CODE, enter_after=b"", **{**NONE, **environ}).strip() == expected


def test_the_page_of_a_code_is_linked_where_the_site_is_set(tmp_path: Path) -> None:
    def page() -> str:
        path = os.pathsep.join([str(tmp_path), os.getcwd()])
        done = subprocess.run(
            [sys.executable, "-m", "remote_runtime", "help", "not-up"],
            env={**os.environ, "PYTHONPATH": path, "PYTHONSAFEPATH": "1"},
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )
        return done.stdout

    info = tmp_path / "remote_runtime-1.dist-info"
    info.mkdir()
    head = "Metadata-Version: 2.1\nName: remote-runtime\nVersion: 1\n"
    (info / "METADATA").write_text(head)
    assert "See:" not in page()
    (info / "METADATA").write_text(f"{head}Project-URL: Documentation, https://host/me/it/blob/main/docs\n")
    assert page().endswith("\nSee: https://host/me/it/blob/main/docs/errors/not-up.md\n")
