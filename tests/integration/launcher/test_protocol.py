"""Logins as people have them, on a real sshd: login files that start another shell, read, print, or leave programs
behind; Pythons that fail; accounts that run no commands."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from remote_runtime.core.deadline import Deadline
from remote_runtime.core.errors import RemoteRuntimeError
from remote_runtime.core.profile import COLAB_ORIGIN, JupyterSettings
from remote_runtime.jupyter import server as jupyter
from remote_runtime.launcher import call
from remote_runtime.lifecycle.upstream import can_reach
from remote_runtime.ssh.session import Session
from tests.support.clients.ssh_client import Visitor
from tests.support.environment.processes import end_processes_of
from tests.support.servers.sshd import Sshd, running_sshd

GONE = {"stopped": "gone", "folder": False}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with running_sshd(tmp_path_factory.mktemp("machine")) as server:
        yield server


@pytest.fixture
def session(server: Sshd, tmp_path: Path) -> Iterator[Session]:
    with Visitor(server, tmp_path / "visitor").enter() as session:
        yield session
    (server.home / ".bashrc").unlink(missing_ok=True)


def ask(session: Session, *, within_s: float = 20.0, python: str = "auto", patience_s: float = 0.6) -> object:
    """The smallest errand there is: nothing of ours runs on this machine."""
    orders = {"do": "stop", "key": "work-laptop1", "spare_busy": False}
    deadline = Deadline(within_s)
    return call.call_launcher(
        session.run,
        orders,
        program="jupyter",
        python=python,
        progress=lambda _: None,
        deadline=deadline,
        login_wait_s=patience_s,
    )


def refused(session: Session, *, within_s: float = 20.0, python: str = "auto") -> RemoteRuntimeError:
    with pytest.raises(RemoteRuntimeError) as caught:
        ask(session, within_s=within_s, python=python)
    return caught.value


@pytest.mark.parametrize("shell", ["fish", "tcsh", "/bin/sh"])
def test_a_shell_that_login_files_start_is_told_nothing_of_the_program(
    server: Sshd, session: Session, shell: str
) -> None:
    (server.home / ".bashrc").write_text(f"exec {shell}\n")
    error = refused(session)
    assert (error.code, "exec" in error.hint) == ("ssh-refused", True)
    assert "import" not in str(error)


@pytest.mark.parametrize("asks", ['read -t 1 -p "Which project? " X', "read X", "sleep 1.2"])
def test_login_files_that_read_or_take_their_time_are_waited_for(server: Sshd, session: Session, asks: str) -> None:
    (server.home / ".bashrc").write_text(f"echo Welcome\n{asks}\n")
    assert ask(session) == GONE


@pytest.mark.parametrize(
    ("login", "said"),
    [
        ("echo only backups here; exit 1", "only backups here"),
        ("exit", "exit status 0"),
        ("exec /bin/false", "exit status 1"),
        ("exec /usr/sbin/nologin", "This account is currently not available"),
        ("echo Password change required >&2; exit 1", "Password change required"),
    ],
)
def test_a_login_that_runs_no_command_is_told_with_its_words(
    server: Sshd, session: Session, login: str, said: str
) -> None:
    (server.home / ".bashrc").write_text(login + "\n")
    error = refused(session)
    assert (error.code, said in error.why) == ("ssh-refused", True), error.why
    assert "remote-runtime ssh PROFILE" in error.hint


def test_a_forced_command_is_told_with_its_place(server: Sshd, session: Session, tmp_path: Path) -> None:
    key = server.key_path.with_suffix(".pub").read_text()
    server.authorize_nobody()
    server.authorize(f'command="echo only backups here" {key}')
    try:
        with Visitor(server, tmp_path / "forced").enter() as forced:
            error = refused(forced)
    finally:
        server.authorize_nobody()
        server.authorize(key)
    assert error.code == "ssh-refused"
    assert f"{server.directory}/authorized_keys:1" in error.why
    assert "only backups here" in error.why


def test_where_forwarding_is_forbidden_no_jupyter_is_started(server: Sshd, session: Session, tmp_path: Path) -> None:
    key = server.key_path.with_suffix(".pub").read_text()
    server.authorize_nobody()
    server.authorize(f"restrict {key}")
    wanted = jupyter.ServerSpec("work", "laptop1", JupyterSettings(), (COLAB_ORIGIN,), socket=True)
    told: list[str] = []
    try:
        with Visitor(server, tmp_path / "forced").enter() as forced, pytest.raises(RemoteRuntimeError) as caught:
            jupyter.ensure(
                forced.run,
                wanted,
                progress=lambda text: told.append(text),
                deadline=Deadline(30),
                can_forward_to=lambda place: can_reach(forced, place),
            )
    finally:
        server.authorize_nobody()
        server.authorize(key)
    assert (caught.value.code, "authorized_keys:1" in caught.value.why) == ("ssh-refused", True)
    assert not any("Starting Jupyter" in each for each in told)


def test_a_home_that_is_not_there_is_told_as_that(server: Sshd, session: Session) -> None:
    (server.home / ".bashrc").write_text("export HOME=/nowhere/me\n")
    wanted = jupyter.ServerSpec("work", "laptop1", JupyterSettings(), (COLAB_ORIGIN,))
    with pytest.raises(RemoteRuntimeError) as caught:
        jupyter.ensure(session.run, wanted, progress=lambda text: None, deadline=Deadline(30))
    assert (caught.value.code, caught.value.why) == ("folder-unusable", "/nowhere/me")
    assert "home" in caught.value.what
    assert not Path("/nowhere").exists()


@pytest.mark.parametrize("name", ["a\nb", "h\udcf4me"])
def test_a_home_whose_name_is_no_text_is_refused_before_anything_is_made(
    server: Sshd, session: Session, tmp_path: Path, name: str
) -> None:
    odd = tmp_path / name
    odd.mkdir()
    (server.home / ".bashrc").write_bytes(b"export HOME='" + os.fsencode(odd) + b"'\n")
    wanted = jupyter.ServerSpec("work", "laptop1", JupyterSettings(), (COLAB_ORIGIN,), socket=True)
    with pytest.raises(RemoteRuntimeError) as caught:
        jupyter.ensure(
            session.run,
            wanted,
            progress=lambda text: None,
            deadline=Deadline(30),
            can_forward_to=lambda place: can_reach(session, place),
        )
    assert (caught.value.code, "UTF-8" in caught.value.what) == ("folder-unusable", True)
    assert not list(odd.iterdir())


def test_one_session_at_a_time_is_enough(tmp_path: Path) -> None:
    with (
        running_sshd(tmp_path / "machine", config=["MaxSessions 1"]) as server,
        Visitor(server, tmp_path / "visitor").enter() as session,
    ):
        (server.home / ".bashrc").write_text("trap 'sleep 0.2' EXIT\n")
        assert [ask(session), ask(session)] == [GONE, GONE]


def test_a_menu_that_goes_on_asking_is_told_with_its_words(server: Sshd, session: Session) -> None:
    (server.home / ".bashrc").write_text('while sleep 0.1; do printf "1) train 2) quit: "; read X; done\n')
    error = refused(session, within_s=2.0)
    assert (error.code, "1) train 2) quit" in error.why) == ("ssh-refused", True), error.why


def test_silence_is_no_refusal(server: Sshd, session: Session) -> None:
    (server.home / ".bashrc").write_text("exec 2>/dev/null; exec sleep 60\n")
    error = refused(session, within_s=2.0)
    assert (error.code, "login" in str(error)) == ("deadline-passed", True)


@pytest.mark.parametrize(
    ("login", "stands_between"),
    [
        ("exec </dev/null", "input"),
        ("exec 0<&-", "input"),
        ("exec >&-", "print"),
        ("exec >log 2>&1", "print"),
    ],
)
def test_a_login_that_redirects_is_told_as_that(
    server: Sshd, session: Session, login: str, stands_between: str
) -> None:
    (server.home / ".bashrc").write_text(login + "\n")
    error = refused(session)
    assert (error.code, stands_between in error.what, "redirect" in error.hint) == ("ssh-refused", True, True), error
    assert not any(ours in str(error) for ours in ("Traceback", "rr-"))


@pytest.mark.parametrize(
    ("login", "said"),
    [("head -c 2000000 /dev/zero", "endless output"), ("select X in train quit; do :; done", "train")],
)
def test_a_login_that_prints_and_never_ends_is_told_with_its_words(
    server: Sshd, session: Session, login: str, said: str
) -> None:
    (server.home / ".bashrc").write_text(login + "\n")
    error = refused(session, within_s=3.0)
    assert (error.code, said in str(error)) == ("ssh-refused", True), error


@pytest.mark.parametrize("kept", ["sleep 60 &", "sleep 60 >/dev/null &", "sleep 60 2>/dev/null &"])
def test_a_program_that_login_files_leave_behind_is_not_waited_for(server: Sshd, session: Session, kept: str) -> None:
    (server.home / ".bashrc").write_text(kept + "\n")
    began = time.monotonic()
    assert ask(session) == GONE
    lines: list[str] = []
    assert session.run(["echo", "hi"], stdin=b"", on_line=lines.append, deadline=Deadline(20)).status == 0
    assert lines == ["hi"]
    assert time.monotonic() - began < 15


@pytest.mark.parametrize(
    "fails",
    [
        "echo 'xcode-select: note: No developer tools were found' >&2; exit 1",
        "exec cat",
        "exit 0",
        "exec sleep 30",
    ],
)
def test_a_python3_that_fails_is_passed_over(server: Sshd, session: Session, fails: str) -> None:
    stub(server, fails)
    (server.home / ".bashrc").write_text(f"PATH={server.home}/bin:/usr/bin:/bin\n")
    assert ask(session) == GONE


def test_where_a_module_system_says_is_no_concern_of_the_launcher(server: Sshd, session: Session) -> None:
    (server.home / ".bashrc").write_text("export PYTHONHOME=/nowhere PYTHONPATH=/nowhere\n")
    assert ask(session) == GONE


def test_all_pythons_that_fail_are_told_with_their_reasons(server: Sshd, session: Session) -> None:
    path = stub(server, "echo 'ImportError: a broken conda' >&2; exit 1")
    error = refused(session, python=str(path))
    assert (error.code, f"{path}: ImportError: a broken conda" in error.why) == ("python-missing", True), error.why


@pytest.mark.parametrize("shell", ["/bin/bash", "/usr/bin/fish", "/bin/tcsh"])
def test_the_path_of_a_login_shell_counts_whatever_shell_it_is(tmp_path: Path, shell: str) -> None:
    """And python3.11 without a python3: run by that shell as sshd does it, where the PATH has neither."""
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "python3.11").symlink_to(sys.executable)
    path = f"{tmp_path}/tools:/usr/bin:/bin"
    (tmp_path / ".bash_profile").write_text(f"echo hello; PATH={path}; sleep 50 &\n")
    (tmp_path / ".bash_logout").write_text("echo bye\n")
    (tmp_path / ".login").write_text(f"setenv PATH {path}\n")
    (tmp_path / ".config" / "fish").mkdir(parents=True)
    (tmp_path / ".config" / "fish" / "config.fish").write_text(
        f"status is-login; and set -x PATH {path.replace(':', ' ')}\n"
    )
    environ = {"HOME": str(tmp_path), "SHELL": shell, "PATH": str(tmp_path)}
    line = shlex.join(call.search_command(("python3", "python3.11"), "ready", "tried"))
    try:
        done = subprocess.run([shell, "-c", line], env=environ, input=b"exit\n0\n", capture_output=True, timeout=20)
    finally:
        end_processes_of(tmp_path)  # what .bash_profile leaves behind is not waited for
    assert (done.stdout.split(), done.returncode) == ([b"tried", b"ready"], 0), done.stderr


def stub(server: Sshd, fails: str) -> Path:
    path = server.home / "bin" / "python3"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{fails}\n")
    path.chmod(0o755)
    return path
