"""The line in the user's ~/.ssh/config, and the file that it includes."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from remote_runtime.commands.ssh_config_file import SshConfigFile
from remote_runtime.core.errors import LocalError

A, B = "Host rr-a\n  User alice\n", "Host rr-b\n  User bob\n"
CONTENTS = (
    b"",
    b"Host *\n  User me\n",
    b"# no end of line",
    b"Host box\r\n  User me\r\n\r\n",
    b"\n\n  \t\nInclude other/*\n",
    b"Match all\n\xff\xfe \x00 caf\xe9\n",
)


@pytest.fixture
def file(tmp_path: Path) -> SshConfigFile:
    (tmp_path / ".ssh").mkdir(mode=0o700)
    return SshConfigFile(tmp_path, Path("/elsewhere"))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def user_of(file: SshConfigFile, host: str) -> str:
    """By the real OpenSSH."""
    done = subprocess.run(
        ["ssh", "-F", str(file.users), "-G", host], capture_output=True, text=True, check=True, timeout=30
    )
    return next(line.split()[1] for line in done.stdout.split("\n") if line.startswith("user "))


@pytest.mark.parametrize("content", CONTENTS)
def test_the_users_file_is_the_same_after_remove(file: SshConfigFile, content: bytes) -> None:
    file.users.write_bytes(content)
    file.users.chmod(0o640)

    assert file.install({"rr-a": A}) == [file.ours, file.users]

    assert file.users.read_bytes() == f"{file.include}\n".encode() + content
    assert (mode(file.users), mode(file.ours), mode(file.ours.parent)) == (0o640, 0o600, 0o700)
    assert file.install({"rr-a": A}) == [], "it is there"
    assert file.remove() == [file.users, file.ours]
    assert (file.users.read_bytes(), mode(file.users)) == (content, 0o640)
    assert not file.ours.parent.exists()
    assert file.remove() == []


def test_openssh_finds_the_entries_before_those_of_the_user(file: SshConfigFile) -> None:
    file.users.write_text("Host *\n  User other\n")
    file.install({"rr-b": B})
    file.install({"rr-a": A})
    assert file.entries() == {"rr-a": A, "rr-b": B}
    assert (user_of(file, "rr-a"), user_of(file, "rr-b"), user_of(file, "c")) == ("alice", "bob", "other")


def test_an_entry_is_replaced_and_removed_alone(file: SshConfigFile) -> None:
    file.install({"rr-a": A, "rr-b": B})
    assert file.install({"rr-a": A.replace("alice", "carol")}) == [file.ours]
    assert "carol" in file.entries()["rr-a"]
    assert file.remove(["rr-a"]) == [file.ours]
    assert file.entries() == {"rr-b": B}
    assert file.remove(["rr-a"]) == []
    file.remove(["rr-b"])
    assert not file.ours.exists()
    assert not file.users.exists(), "it did not exist before"


def test_a_missing_file_is_created_for_the_user_alone(file: SshConfigFile) -> None:
    file.users.parent.rmdir()
    file.install({"rr-a": A})
    assert (mode(file.users), mode(file.users.parent)) == (0o600, 0o700)
    file.users.write_text(file.users.read_text() + "Host mine\n")
    file.remove()
    assert file.users.read_text() == "Host mine\n", "what the user has added stays"


def test_a_symbolic_link_is_followed(file: SshConfigFile, tmp_path: Path) -> None:
    target = tmp_path / "dotfiles" / "ssh_config"
    target.parent.mkdir()
    target.write_text("Host *\n")
    file.users.symlink_to(target)
    file.install({"rr-a": A})
    assert file.users.is_symlink()
    assert target.read_text() == f"{file.include}\nHost *\n"
    file.remove()
    assert (file.users.is_symlink(), target.read_text()) == (True, "Host *\n")
    assert [path.name for path in target.parent.iterdir()] == ["ssh_config"]


def test_a_line_that_was_moved_into_a_section_is_moved_back(file: SshConfigFile) -> None:
    file.users.write_text(f"Host box\n  User me\n{file.include}\n")
    assert file.entries() == {}
    file.install({"rr-a": A})
    assert file.users.read_text() == f"{file.include}\nHost box\n  User me\n"


def test_a_file_without_the_line_has_no_entries(file: SshConfigFile) -> None:
    file.install({"rr-a": A})
    file.users.write_text("Host *\n")
    assert file.entries() == {}


def test_what_cannot_be_written_is_an_error_and_changes_nothing(file: SshConfigFile) -> None:
    file.users.mkdir()
    with pytest.raises(LocalError) as failed:
        file.install({"rr-a": A})
    assert failed.value.code == "ssh-config-not-written"
    file.users.rmdir()
    file.ours.parent.mkdir(mode=0o700, exist_ok=True)
    file.ours.symlink_to(os.devnull)
    with pytest.raises(LocalError):
        file.install({"rr-a": A})


def test_with_the_home_of_the_account_the_line_is_short(tmp_path: Path) -> None:
    assert SshConfigFile(tmp_path, tmp_path).include == "Include ~/.ssh/remote-runtime/config"
