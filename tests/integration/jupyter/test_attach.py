"""A Jupyter server that the user runs on the machine: found, told apart from others', and left as it is."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from remote_runtime.core.deadline import Deadline
from remote_runtime.core.errors import HealthError, MachineError, RemoteRuntimeError
from remote_runtime.core.model import Health, Server
from remote_runtime.core.profile import COLAB_ORIGIN, AttachSettings, JupyterSettings
from remote_runtime.jupyter import health
from remote_runtime.jupyter import server as jupyter
from tests.support.machines.local_machine import LocalMachine
from tests.support.servers.echo_servers import Target
from tests.support.servers.jupyter import JupyterServer, jupyter_server

NO_CORS = {"ServerApp": {"allow_origin": None, "allow_credentials": None}}


@pytest.fixture(scope="module")
def plain() -> Iterator[JupyterServer]:
    """Set up for Colab's direct way, without the bridge."""
    with jupyter_server(bridge=False) as server:
        yield server


@pytest.fixture(scope="module")
def bridged() -> Iterator[JupyterServer]:
    """The bridge is all it has."""
    with jupyter_server(extra_config=NO_CORS) as server:
        yield server


@pytest.fixture
def machine(tmp_path: Path) -> LocalMachine:
    return LocalMachine(tmp_path / "home")


def attach(machine: LocalMachine, port: int, token_file: Path | None = None) -> Server:
    settings = JupyterSettings(attach=AttachSettings(port, str(token_file) if token_file else None))
    wanted = jupyter.ServerSpec("work", "laptop1", settings, (COLAB_ORIGIN,))
    return jupyter.ensure(machine.run, wanted, progress=lambda text: None, deadline=Deadline(60))


def refused(machine: LocalMachine, port: int, token_file: Path | None = None) -> RemoteRuntimeError:
    with pytest.raises(MachineError) as caught:
        attach(machine, port, token_file)
    assert caught.value.hint
    return caught.value


def check(server: Server) -> Health:
    """Straight at its port: where a tunnel would lead."""
    assert server.port is not None
    return health.check(health.Endpoint(server.port, server.token, (COLAB_ORIGIN,), attached=server), Deadline(30))


def written(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


# ── whose it is, and its token ──


def test_a_server_is_found_by_its_port_and_its_token_in_its_own_runtime_file(
    machine: LocalMachine, plain: JupyterServer
) -> None:
    server = attach(machine, plain.port)
    assert (server.pid, server.token.reveal(), server.attached, server.started_by_us, server.bridge) == (
        plain.pid, plain.token, True, False, "",
    )  # fmt: skip
    assert server.interpreter == sys.executable
    assert server.jupyter_server[0].isdigit()
    assert not machine.folder.exists(), "nothing is left on the machine"


def test_a_token_file_that_only_the_user_can_read_will_do(
    machine: LocalMachine, plain: JupyterServer, tmp_path: Path
) -> None:
    assert attach(machine, plain.port, written(tmp_path / "token", f"{plain.token}\n")).token.reveal() == plain.token


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that other users can enter, all the way."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o711)  # noqa: S103  # what is tested
        yield Path(folder)


@pytest.mark.parametrize(
    ("text", "mode", "why"),
    [
        ("t0ken", 0o644, "mode 644"),
        ("t0ken", 0o660, "chmod 600"),
        ("t0ken", 0o602, "mode 602"),
        ("two words", 0o600, "nothing else"),
        ("", 0o600, ""),
    ],
)
def test_a_token_file_that_others_can_read_or_that_holds_none_is_refused(
    machine: LocalMachine, plain: JupyterServer, shared: Path, text: str, mode: int, why: str
) -> None:
    error = refused(machine, plain.port, written(shared / "token", text, mode))
    assert error.code == "attach-without-token"
    assert why in f"{error.why} {error.hint}"


def test_a_file_that_nobody_else_can_get_at_will_do_whatever_its_mode(
    machine: LocalMachine, plain: JupyterServer, shared: Path
) -> None:
    """As Notebook 6 writes its description under the usual umask, in Jupyter's runtime folder, which is 0700."""
    (shared / "private" / "deep").mkdir(parents=True)
    (shared / "private").chmod(0o700)
    readable = written(shared / "private" / "deep" / "token", plain.token, 0o644)
    (shared / "link").symlink_to(readable)
    plain.runtime_file.chmod(0o644)
    assert attach(machine, plain.port).token.reveal() == plain.token
    assert attach(machine, plain.port, readable).token.reveal() == plain.token
    assert attach(machine, plain.port, shared / "link").token.reveal() == plain.token
    for mode in (0o710, 0o701, 0o755):
        (shared / "private").chmod(mode)
        assert refused(machine, plain.port, readable).code == "attach-without-token", oct(mode)
    (shared / "private").chmod(0o700)
    os.link(readable, shared / "second name")
    assert refused(machine, plain.port, readable).code == "attach-without-token"


def test_a_token_file_that_is_missing_is_named(machine: LocalMachine, plain: JupyterServer, tmp_path: Path) -> None:
    error = refused(machine, plain.port, tmp_path / "none")
    assert (error.code, str(tmp_path / "none") in error.why) == ("attach-without-token", True)


def test_a_token_in_the_place_of_the_file_is_not_shown_and_a_pipe_is_not_waited_for(
    machine: LocalMachine, plain: JupyterServer, tmp_path: Path
) -> None:
    error = refused(machine, plain.port, Path("/sEcReT+t0ken"))
    assert error.code == "attach-without-token"
    assert "sEcReT" not in " ".join(error.as_dict().values())
    os.mkfifo(tmp_path / "pipe")
    error = refused(machine, plain.port, tmp_path / "pipe")
    assert (error.code, str(tmp_path / "pipe") in error.why) == ("attach-without-token", True)


def test_a_server_without_a_token_is_never_forwarded(machine: LocalMachine, tmp_path: Path) -> None:
    """As the Deep Learning VMs' own one is; a token that the user names does not make it safe."""
    with jupyter_server(
        bridge=False, extra_config={"IdentityProvider": {"token": ""}, "ServerApp": {"token": None}}
    ) as open_to_all:
        error = refused(machine, open_to_all.port)
        assert error.code == "attach-without-token"
        error = refused(machine, open_to_all.port, written(tmp_path / "token", "t0ken"))
        assert (error.code, "does not require a token" in error.what) == ("attach-without-token", True)


def test_a_port_where_nothing_or_no_jupyter_of_the_user_listens_is_refused(machine: LocalMachine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert refused(machine, port).code == "attach-not-found"
    with Target(lambda connection: connection.sendall(b"SSH-2.0-nope\r\n")) as other:
        error = refused(machine, other.address[1])
        assert (error.code, f"jpserver-{os.getpid()}.json" in error.why) == ("attach-not-found", True)
        token_file = written(machine.home / "token", "t0ken")
        assert "does not respond as a Jupyter server" in refused(machine, other.address[1], token_file).why


def test_a_server_of_another_user_is_refused(machine: LocalMachine) -> None:
    """Who listens is seen from outside its process."""
    command = [sys.executable, "-c", OTHER_USER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as stranger:
        assert stranger.stdout is not None
        error = refused(machine, int(stranger.stdout.readline()), written(machine.home / "token", "t0ken"))
        stranger.communicate("\n")
    assert (error.code, "another user" in error.why) == ("attach-not-found", True)


OTHER_USER = """
import os, socket
if os.geteuid() == 0:
    os.setuid(65534)
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
input()
"""


# ── what it lacks ──


def test_a_server_set_up_for_colab_serves_it_directly_and_is_told_what_the_bridge_would_add(
    machine: LocalMachine, plain: JupyterServer
) -> None:
    seen = check(attach(machine, plain.port))
    assert seen.verdict == "ready"
    told = "\n".join(seen.missing_settings)
    assert f"bridge enable --python {sys.executable}" in told
    assert "any web page that learns its token" in told
    assert "allow_" not in told


def test_the_bridge_alone_is_enough_and_then_it_proves_itself(machine: LocalMachine, bridged: JupyterServer) -> None:
    server = attach(machine, bridged.port)
    assert server.can_prove_identity
    assert check(server).missing_settings == ()


def test_a_proof_covers_the_port_that_the_server_had_when_it_was_found(
    machine: LocalMachine, bridged: JupyterServer
) -> None:
    """It ended, another user listens there now, and passes the question on to where it came up again."""
    server = attach(machine, bridged.port)
    before = replace(server, port=bridged.port + 1)
    door = health.Endpoint(bridged.port, server.token, (COLAB_ORIGIN,), attached=before)
    with pytest.raises(HealthError) as caught:
        health.verify(door, Deadline(20))
    assert caught.value.code == "stranger-answered"
    assert health.verify(replace(door, attached=server), Deadline(20)) > 0


def test_a_token_that_can_be_guessed_is_not_proved_and_said_to_be_short(machine: LocalMachine) -> None:
    config = {"ServerApp": {"token": "lab2024"}, "IdentityProvider": {"token": "lab2024"}}
    with jupyter_server(extra_config=config) as guessable:
        server = attach(machine, guessable.port)
        assert not server.can_prove_identity
        (told,) = [lack for lack in check(server).missing_settings if "16 characters" in lack]
        assert "longer" in told


@pytest.mark.parametrize(
    ("config", "settings"),
    [
        # Without an origin of its own Jupyter lets in any page that has the token.
        (NO_CORS, ["c.ServerApp.allow_credentials = True", "any web page"]),
        ({"ServerApp": {"allow_origin": "*"}}, ["allows every origin", "c.ServerApp.allow_origin = "]),
        ({"ServerApp": {"allow_credentials": None}}, ["c.ServerApp.allow_credentials = True"]),
        (
            {"ServerApp": {"allow_origin": "https://other.example"}},
            ["does not allow https://colab.research.google.com"],
        ),
    ],
)
def test_a_server_that_colab_cannot_use_is_refused_with_the_settings_that_it_lacks(
    machine: LocalMachine, config: dict[str, dict[str, object]], settings: list[str]
) -> None:
    with jupyter_server(bridge=False, extra_config=config) as server, pytest.raises(MachineError) as caught:
        check(attach(machine, server.port))
    assert caught.value.code == "attach-unfit"
    for setting in ["it has no bridge", *settings]:
        assert setting in caught.value.why
    assert f"bridge enable --python {sys.executable}" in caught.value.hint


def test_a_wrong_token_is_said_to_be_wrong(machine: LocalMachine, plain: JupyterServer, tmp_path: Path) -> None:
    with pytest.raises(HealthError) as caught:
        check(attach(machine, plain.port, written(tmp_path / "token", "t0ken")))
    assert caught.value.code == "token-refused"


def test_another_base_url_is_refused_because_colab_has_no_word_for_it(machine: LocalMachine) -> None:
    with jupyter_server(bridge=False, extra_config={"ServerApp": {"base_url": "/lab/"}}) as server:
        error = refused(machine, server.port)
    assert (error.code, "/lab/" in error.what) == ("attach-unfit", True)


# ── beside a server of ours ──


def test_a_server_of_ours_that_runs_is_kept_when_the_profile_changes_to_attach(
    machine: LocalMachine, plain: JupyterServer
) -> None:
    wanted = jupyter.ServerSpec("work", "laptop1", JupyterSettings(), (COLAB_ORIGIN,))
    ours = jupyter.ensure(machine.run, wanted, progress=lambda text: None, deadline=Deadline(60))
    try:
        kept = attach(machine, plain.port)
        assert (kept.pid, kept.attached) == (ours.pid, False)
        assert any("jupyter.attach has changed" in note for note in kept.notes)
    finally:
        jupyter.stop(machine.run, wanted, deadline=Deadline(40))
    assert attach(machine, plain.port).pid == plain.pid
    assert json.loads(plain.runtime_file.read_text())["pid"] == plain.pid
