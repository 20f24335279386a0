"""What is noted beside a server says on which machine it runs, whatever the machine's name and boot become."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from remote_runtime.jupyter.remote import host
from remote_runtime.launcher.remote.reply import ReportedError

HERE = host.Host("login1", "login1", "boot-1")
OTHER = {"name": "login2", "id": "login2", "boot": "boot-2"}


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "this_host", lambda: HERE)


def noted(folder: Path, alive_s_ago: float | None = 0.0, **info: Any) -> str:
    (folder / "info.json").write_text(json.dumps({"pid": 77, **info}))
    if alive_s_ago is not None:
        (folder / "alive").touch()
        os.utime(folder / "alive", (time.time() - alive_s_ago,) * 2)
    return host.other_host(str(folder))


@pytest.mark.parametrize(
    ("known", "found"),
    [
        (OTHER, "login2"),
        ({**OTHER, "boot": "boot-1"}, ""),  # renamed
        ({**OTHER, "id": "login1", "name": "login1"}, ""),  # restarted
        ({**OTHER, "boot": ""}, "login2"),
        ({"name": "login2"}, ""),
        (None, ""),
    ],
)
def test_a_server_is_elsewhere_only_where_neither_name_nor_boot_is_ours(
    tmp_path: Path, known: object, found: str
) -> None:
    assert noted(tmp_path, host=known) == found


def test_a_server_that_has_not_said_that_it_lives_for_long_is_given_up(tmp_path: Path) -> None:
    assert noted(tmp_path, host.ALIVE_TIMEOUT_S + 60, host=OTHER) == ""
    assert noted(tmp_path, host.ALIVE_TIMEOUT_S - 60, host=OTHER) == "login2"
    assert noted(tmp_path, 0.0, host=OTHER, pid=None) == "", "it was never started"
    (tmp_path / "alive").unlink()
    assert noted(tmp_path, None, host=OTHER) == "login2", "who never said so may live"
    with pytest.raises(ReportedError) as raised:
        host.refuse_other_host(str(tmp_path))
    assert raised.value.error["code"] == "another-machine"
    assert "login2" in raised.value.error["what"]
    assert "login1" in raised.value.error["what"]
    assert "login2" in raised.value.error["hint"]


def test_what_became_of_the_machine_is_known_from_its_boot() -> None:
    assert host.machine_since({"host": dict(HERE._asdict())}) == "same"
    assert host.machine_since({"host": {**HERE._asdict(), "boot": "boot-0"}}) == "restarted"
    assert host.machine_since({"host": OTHER}) == ""
    assert host.machine_since({}) == ""


def test_this_machine_has_a_name_and_a_boot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert host.this_host() == host.this_host()
    assert host.this_host().name
    assert host.this_host().id
