"""What the demo machine takes over from this computer: how to reach a package index, uv and its cache, and no more."""

from __future__ import annotations

from pathlib import Path

import pytest

from remote_runtime.demo.ssh_server.account import Account


@pytest.fixture
def account(tmp_path: Path) -> Account:
    return Account("me", tmp_path / "machine", "id")


def make_uv(folder: Path) -> Path:
    folder.mkdir()
    uv = folder / "uv"
    uv.write_text("#!/bin/sh\n")
    uv.chmod(0o755)
    return uv


@pytest.mark.parametrize("named", [False, True], ids=["on PATH", "by uvx"])
def test_the_machine_has_the_uv_of_this_computer_and_its_cache(
    account: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    uv = make_uv(tmp_path / "programs")
    monkeypatch.setenv("PATH", "/nowhere" if named else str(uv.parent))
    monkeypatch.setenv("UV", str(uv)) if named else monkeypatch.delenv("UV", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    account.prepare()
    assert (account.home / ".local" / "bin" / "uv").resolve() == uv
    assert account.environment({})["UV_CACHE_DIR"] == str(tmp_path / "cache" / "uv")


def test_without_uv_it_has_none(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("UV", raising=False)
    account.prepare()
    assert [path.name for path in account.home.iterdir()] == [".profile"]
    assert "UV_CACHE_DIR" not in account.environment({})


def test_it_reaches_the_index_that_this_computer_reaches(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = {"https_proxy": "http://proxy:3128", "SSL_CERT_FILE": "/ca.pem", "UV_INDEX_URL": "http://index/simple"}
    for name, value in {**taken, "PIP_USER": "1", "AWS_SECRET_ACCESS_KEY": "s3cret"}.items():
        monkeypatch.setenv(name, value)
    environment = account.environment({})
    assert taken.items() <= environment.items()
    assert not {"PIP_USER", "AWS_SECRET_ACCESS_KEY"} & environment.keys()
