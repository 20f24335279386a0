"""The key files in an entry for another SSH client."""

from __future__ import annotations

from pathlib import Path

import pytest

from remote_runtime import ssh
from remote_runtime.core.profile import SshSettings
from tests.support.servers.sshd import make_key


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """With two keys that are offered without being named."""
    (tmp_path / ".ssh").mkdir(mode=0o700)
    for name in ("id_ed25519", "id_ecdsa"):
        make_key(tmp_path / ".ssh" / name)
    return tmp_path


def public(path: Path) -> str:
    return " ".join(path.with_suffix(".pub").read_text().split()[:2])


def files(home: Path, *accepted: str, **settings: str) -> list[str]:
    found = ssh.accepted_files(ssh.Keys(), SshSettings(**settings), {"HOME": str(home)}, accepted)  # type: ignore[arg-type]  # only texts
    return [str(Path(path).relative_to(home)) for path in found]


def test_the_key_that_the_machine_accepts_is_named(home: Path) -> None:
    assert files(home, public(home / ".ssh" / "id_ecdsa"), "ssh-rsa AAAA") == [".ssh/id_ecdsa"]


def test_the_key_that_is_installed_later_is_named_too(home: Path) -> None:
    make_key(home / ".ssh" / "google_compute_engine")
    accepted = public(home / ".ssh" / "id_ecdsa")
    assert files(home, accepted) == [".ssh/id_ecdsa", ".ssh/google_compute_engine"]


def test_all_are_named_where_it_is_not_known_which_one_is_accepted(home: Path) -> None:
    assert sorted(files(home)) == [".ssh/id_ecdsa", ".ssh/id_ed25519"]


def test_without_a_key_the_one_is_named_that_is_made(tmp_path: Path) -> None:
    assert files(tmp_path) == [".ssh/google_compute_engine"]


def test_the_file_of_the_profile_is_the_only_one(home: Path) -> None:
    assert files(home, public(home / ".ssh" / "id_ecdsa"), identity_file="~/.ssh/id_ed25519") == [".ssh/id_ed25519"]
    assert ssh.named_files(SshSettings(identity_file="~/a", identity_files=("/b", "~/a")), {"HOME": "/h"}) == (
        "/h/a",
        "/b",
    )
