"""`bridge`: what is said of an environment and its servers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from remote_runtime.cli.output import bridge

DONE = {"python": "/env/bin/python", "version": "0.1.0", "package": "/env/bridge", "config_files": ("/env/a.json",)}
SERVER = {
    "url": "http://localhost:8899/",
    "pid": 7,
    "loaded": True,
    "bridge": "0.1.0",
    "origins": ("https://x",),
    "why": "",
}
SEEN: dict[str, Any] = {
    "python": "/env/bin/python", "installed": "0.1.0", "enabled": True, "jupyter_server": "2.14.0", "notebook": None,
    "servers": (SERVER, {**SERVER, "loaded": None, "bridge": None, "origins": (), "pid": None, "why": "no answer"}),
}  # fmt: skip
Captured = pytest.CaptureFixture[str]


def test_enabling_says_what_was_put_where_and_how_to_start_a_server(capsys: Captured) -> None:
    bridge.enabled({**DONE, "changed": True}, quiet=False)
    shown = capsys.readouterr()
    assert shown.out == "The bridge 0.1.0 is enabled for /env/bin/python\n  /env/bridge\n  /env/a.json\n"
    assert "jupyter server --ServerApp.allow_credentials=True " in shown.err
    bridge.enabled({**DONE, "changed": False}, quiet=True)
    assert capsys.readouterr().out.startswith("The bridge 0.1.0 was enabled already")


def test_disabling_says_what_was_taken_away(capsys: Captured) -> None:
    bridge.disabled({**DONE, "changed": True}, quiet=True)
    assert capsys.readouterr() == ("Removed the bridge from /env/bin/python\n  /env/bridge\n  /env/a.json\n", "")
    bridge.disabled({**DONE, "changed": False}, quiet=False)
    assert capsys.readouterr() == ("The bridge was not there: /env/bin/python\n", "")


def test_status_is_a_few_facts_and_a_table_of_servers(capsys: Captured) -> None:
    bridge.status(SEEN, quiet=False)
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["Python", "/env/bin/python"],
        ["bridge", "0.1.0,", "enabled"],
        ["Jupyter", "Server", "2.14.0"],
        [],
        ["SERVER", "PID", "BRIDGE", "FOR,", "OR", "WHY", "NOT"],
        ["http://localhost:8899/", "7", "0.1.0", "https://x"],
        ["http://localhost:8899/", "not", "known", "no", "answer"],
    ]
    bridge.status({**SEEN, "servers": (), "installed": None}, quiet=False)
    assert "No server of this environment runs." in capsys.readouterr().out


def test_the_recipe_is_the_readmes() -> None:
    assert bridge.RECIPE in (Path(__file__).parents[3] / "docs" / "existing-jupyter.md").read_text(encoding="utf-8")
