"""An entry of ssh_config, as the real OpenSSH and the shells read it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from remote_runtime.commands.ssh_host import SshHost
from remote_runtime.core.errors import LocalError

HOST = SshHost("rr-box", "me", ("/opt/remote-runtime", "ssh", "--stdio", "box"), "/state/box.hostkeys", 15.0)
SHELLS = ("sh", "bash", "zsh", "fish", "tcsh", "mksh")
ODD_NAMES = (
    "a b",
    "it's",
    "50%",
    "%h",
    "%%n",
    "$HOME",
    "`id`",
    "$(id)",
    "a;b",
    "a&b",
    "a|b",
    "<a>",
    "#a",
    "a #b",
    "=a",
    "~a",
    "*?[a]",
    "{a,b}",
    "-a",
    "ünïcödé 目",
    " a ",
)
REFUSED_NAMES = ('a"b', "a\nHost *\n  User root", "a\rb", "a\tb", "a\x00b", "a\x7fb", "a\u0085b", "${HOME}")


def options(folder: Path, host: SshHost, name: str = "") -> dict[str, str]:
    """As `ssh -G` prints them."""
    config = folder / "config"
    config.write_text(host.text(windows=False) + "Host *\n  User other\n")
    done = subprocess.run(
        ["ssh", "-F", str(config), "-G", name or host.alias], capture_output=True, text=True, check=False, timeout=30
    )
    assert done.returncode == 0, done.stderr
    return dict(line.split(" ", 1) for line in done.stdout.split("\n") if " " in line)


@pytest.mark.parametrize("name", ODD_NAMES)
def test_openssh_reads_odd_paths_as_they_are(tmp_path: Path, name: str) -> None:
    path = f"/home/{name}/file"
    host = replace(HOST, known_hosts=path, identity_files=(path,), certificate_files=(path,), agent=path)
    read = options(tmp_path, host)
    assert (read["userknownhostsfile"], read["identityagent"]) == (path, path)
    assert {read["identityfile"], read["certificatefile"]} == {path.replace("%", "%%")}, "replaced when they are used"
    assert (read["user"], read["hostkeyalias"], read["stricthostkeychecking"]) == ("me", "rr-box", "true")


def test_openssh_uses_the_key_file_of_an_odd_folder(tmp_path: Path) -> None:
    path = "/home/%h 50% %%/it's $HOME/key"
    config = tmp_path / "config"
    config.write_text(replace(HOST, command=("false",), identity_files=(path,)).text(windows=False))
    words = ["ssh", "-v", "-F", str(config), "rr-box"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=30)
    assert f"identity file {path} type -1" in done.stderr


@pytest.mark.parametrize("name", REFUSED_NAMES)
@pytest.mark.parametrize("field", ["known_hosts", "identity_files", "certificate_files", "agent", "user"])
def test_what_openssh_reads_differently_is_refused(field: str, name: str) -> None:
    path = f"/home/{name}"
    value: object = {"known_hosts": path, "agent": path, "user": name}.get(field, (path,))
    with pytest.raises(LocalError) as refused:
        replace(HOST, **{field: value}).text(windows=False)  # type: ignore[arg-type]  # one of two types
    assert refused.value.code == "ssh-config-unsafe"


def test_a_relative_path_is_refused() -> None:
    for path in ("~/key", "", "%d/key", "none", ".ssh/key", "C:/key", "/home/a\\b"):
        with pytest.raises(LocalError):
            replace(HOST, identity_files=(path,)).text(windows=False)


@pytest.mark.parametrize("user", ["me", "me_example_com", "me@corp.example", "CORP\\me", "a.b-c+d", "machine$", "0me"])
def test_a_login_name_is_read_as_it_is(tmp_path: Path, user: str) -> None:
    assert options(tmp_path, replace(HOST, user=user))["user"] == user


def test_a_host_is_found_in_lower_case_too(tmp_path: Path) -> None:
    host = replace(HOST, alias="rr-My.VM")
    assert options(tmp_path, host)["user"] == options(tmp_path, host, "rr-my.vm")["user"] == "me"


@pytest.mark.parametrize("user", ["", "a b", "-oProxyCommand=x", "%r", "a'b", "a,b", "$USER", "a\\\\b", "ü"])
def test_other_login_names_are_refused(user: str) -> None:
    with pytest.raises(LocalError) as refused:
        replace(HOST, user=user).text(windows=False)
    assert "ssh.user" in refused.value.hint


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_runs_the_program_of_an_odd_folder(tmp_path: Path, shell: str) -> None:
    folder = tmp_path / "a 'b' 50% %h $HOME `id`; #&*~ {x,y} ü"
    folder.mkdir()
    program, notes = folder / "remote runtime", tmp_path / "notes"
    program.write_text(
        f"#!{sys.executable}\nimport json, os, sys\n"
        f"json.dump([sys.argv, os.environ['REMOTE_RUNTIME_STATE_DIR']], open({str(notes)!r}, 'w'))\n"
    )
    program.chmod(0o755)
    state = f"{folder}/state dir"
    words = (str(program), "ssh", "--stdio", f"{folder}/box.yaml")
    host = replace(HOST, command=words, variables=(("REMOTE_RUNTIME_STATE_DIR", state),))
    config = tmp_path / "config"
    config.write_text(host.text(windows=False))
    found = shutil.which(shell)
    assert found
    environ = {"SHELL": found, "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    subprocess.run(["ssh", "-F", str(config), "rr-box"], env=environ, capture_output=True, timeout=30, check=False)
    assert json.loads(notes.read_text()) == [list(words), state]


@pytest.mark.parametrize("word", ["a\\b", "a!b", "a\nb", "a\tb"])
def test_words_that_shells_read_differently_are_refused(word: str) -> None:
    with pytest.raises(LocalError):
        replace(HOST, command=(word,)).text(windows=False)
    with pytest.raises(LocalError):
        replace(HOST, variables=(("REMOTE_RUNTIME_STATE_DIR", word),)).text(windows=False)


def test_windows_paths_are_written_with_slashes_in_double_quotes() -> None:
    program = "C:\\Users\\A B\\50%\\remote-runtime.exe"
    host = SshHost("rr-box", "me", (program, "ssh", "--stdio", "box"), "C:\\state dir\\box.hostkeys", 15.0)
    written = dict(replace(host, identity_files=("C:\\Users\\me\\.ssh\\key",)).options(windows=True))
    assert written["ProxyCommand"] == '"C:/Users/A B/50%%/remote-runtime.exe" ssh --stdio box'
    assert written["UserKnownHostsFile"] == '"C:/state dir/box.hostkeys"'
    assert written["IdentityFile"] == "C:/Users/me/.ssh/key"
    with pytest.raises(LocalError):
        replace(host, command=('C:\\a"b.exe',)).text(windows=True)
