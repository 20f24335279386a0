"""A real Jupyter, found or started by the real launcher; only the connection is a subprocess instead of SSH."""

from __future__ import annotations

import http.client
import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from remote_runtime.core.deadline import Deadline, wait_until
from remote_runtime.core.errors import MachineError
from remote_runtime.core.model import Gpu, Kernelspec, Server
from remote_runtime.core.profile import COLAB_ORIGIN, JupyterSettings
from remote_runtime.jupyter import server as jupyter
from remote_runtime.jupyter.remote import runtime_dir
from tests.support.clients.page import Page
from tests.support.environment.processes import commands_of
from tests.support.environment.waiting import free_port
from tests.support.machines.local_machine import LocalMachine

WANTED = jupyter.ServerSpec("work", "laptop1", JupyterSettings(), (COLAB_ORIGIN,))
ON_SOCKET = replace(WANTED, socket=True)
BANNER = 'Welcome to your VM!\n{"result": {}}\nlast login: yesterday'


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalMachine]:
    """One machine for the tests that leave its server as it is."""
    machine = LocalMachine(tmp_path_factory.mktemp("machine"), banner=BANNER)
    yield machine
    stop(machine)


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[LocalMachine]:
    machine = LocalMachine(tmp_path / "home")
    yield machine
    for name in os.listdir(machine.folder / "servers") if (machine.folder / "servers").exists() else []:
        name, _, client_id = name.rpartition("-")
        stop(machine, replace(WANTED, name=name, client_id=client_id))
    assert commands_of(machine.home) == {}


def ensure(
    machine: LocalMachine,
    wanted: jupyter.ServerSpec = WANTED,
    *,
    told: list[str] | None = None,
    bridge: jupyter.Bridge | None = None,
) -> Server:
    heard = [] if told is None else told
    return jupyter.ensure(
        machine.run,
        wanted,
        progress=lambda text: heard.append(text),
        deadline=Deadline(60),
        bridge=bridge,
    )


def stop(machine: LocalMachine, wanted: jupyter.ServerSpec = WANTED) -> str:
    return jupyter.stop(machine.run, wanted, deadline=Deadline(40))


def api(server: Server, path: str, *, method: str = "GET", token: str | None = None) -> Any:
    """The answer's JSON, or its status where it is an error."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    headers = {"Authorization": f"token {server.token.reveal() if token is None else token}", "Origin": COLAB_ORIGIN}
    try:
        connection.request(method, path, body="{}" if method == "POST" else None, headers=headers)
        answer = connection.getresponse()
        return json.load(answer) if answer.status < 300 else answer.status
    finally:
        connection.close()


def test_a_fresh_machine_gets_a_server_that_answers_with_the_token_only(machine: LocalMachine) -> None:
    told: list[str] = []
    server = ensure(machine, told=told)
    assert Path(server.interpreter).parent == Path(sys.executable).parent
    assert server.directory == str(machine.folder / "servers" / "work-laptop1")
    assert "python3" in api(server, "/api/kernelspecs")["kernelspecs"]
    assert api(server, "/api/kernelspecs", token="wrong") == 403
    assert (machine.home / "content").is_dir()
    assert [line.split()[0] for line in told] in ([], ["Finding", "Created", "Starting", "Waiting"])
    assert not any("content" in note for note in server.notes)


def test_the_second_time_the_same_server_is_used(machine: LocalMachine) -> None:
    first = ensure(machine)
    before = machine.runs
    second = ensure(machine)
    assert (second.pid, second.port, second.token) == (first.pid, first.port, first.token)
    assert not second.started_by_us
    assert machine.runs == before + 1


def test_the_token_is_in_no_command_line_environment_or_log(machine: LocalMachine) -> None:
    server = ensure(machine)
    api(server, "/api/kernels", method="POST")
    assert server.pid in commands_of(machine.folder)
    assert commands_of(server.token.reveal()) == {}
    assert server.token.reveal() not in jupyter.tail_log(machine.run, WANTED, lines=9999, deadline=Deadline(20)).text


def test_what_lies_on_the_machine_is_for_its_user_alone(machine: LocalMachine) -> None:
    ensure(machine)
    paths = [path for path in machine.folder.rglob("*") if "__pycache__" not in path.parts]
    assert {path.name for path in paths} >= {"config.json", "info.json", "server.log", "boot.py"}
    assert [path for path in [machine.folder, *paths] if stat.S_IMODE(path.stat().st_mode) & 0o077] == []


def test_kernels_find_the_environment_as_the_user_has_it(machine: LocalMachine) -> None:
    """The bridge's folder is on the path of the server's process only."""
    server = ensure(machine)
    api(server, "/api/kernels", method="POST")
    wait_until(lambda: kernels_of(server), Deadline(20), every_s=0.1, what="the kernel")
    for pid in kernels_of(server):
        assert b"PYTHONPATH" not in Path(f"/proc/{pid}/environ").read_bytes()


def test_a_cell_leaves_no_warning_in_the_log_of_the_server(machine: LocalMachine) -> None:
    """jupyter_server gives tornado a ping timeout that tornado warns of."""
    server = ensure(machine)
    page = Page(f"http://127.0.0.1:{server.port}/?token={server.token.reveal()}")
    assert page.run(page.start_kernel(), "print(6*7)") == "42"
    log = jupyter.tail_log(machine.run, WANTED, lines=9999, deadline=Deadline(20)).text
    assert "Kernel started" in log
    assert "websocket_ping" not in log


def test_changed_settings_leave_the_server_alone_and_are_named(machine: LocalMachine) -> None:
    server = ensure(machine)
    changed = replace(WANTED, settings=JupyterSettings(env={"HF_TOKEN": "x"}, port=12345))
    again = ensure(machine, changed)
    assert again.pid == server.pid
    assert [note.split(" has changed")[0] for note in again.notes if "has changed" in note] == [
        "jupyter.port",
        "jupyter.env",
    ]


def test_a_server_with_an_older_bridge_is_kept_and_the_note_says_so(machine: LocalMachine) -> None:
    server = ensure(machine)
    again = ensure(machine, bridge=replace(jupyter.load_bridge(), version="99.1"))
    assert (again.pid, again.bridge) == (server.pid, server.bridge)
    assert any(server.bridge in note and "99.1" in note for note in again.notes)


def test_the_log_can_be_followed(machine: LocalMachine) -> None:
    server = ensure(machine)
    tail = jupyter.tail_log(machine.run, WANTED, lines=2, deadline=Deadline(20))
    assert len(tail.text.splitlines()) == 2
    api(server, "/api/kernels", method="POST")
    following = jupyter.read_log(machine.run, WANTED, offset=tail.offset, deadline=Deadline(20))
    assert "Kernel started" in following.text


def test_a_purge_leaves_servers_that_run_alone_and_names_them(machine: LocalMachine) -> None:
    ensure(machine)
    purged = jupyter.purge(machine.run, JupyterSettings(), deadline=Deadline(20))
    assert purged == jupyter.PurgeResult(False, ("work-laptop1",))
    assert (machine.folder / "servers" / "work-laptop1" / "info.json").exists()


def test_a_killed_server_is_started_again_with_another_token(fresh: LocalMachine) -> None:
    first = ensure(fresh)
    os.kill(first.pid, signal.SIGKILL)
    second = ensure(fresh)
    assert second.started_by_us
    assert second.pid != first.pid
    assert second.token != first.token
    assert "kernels" in api(second, "/api/status")


def test_a_pid_that_belongs_to_another_process_now_is_not_our_server(fresh: LocalMachine) -> None:
    first = ensure(fresh)
    os.kill(first.pid, signal.SIGKILL)
    info_file = fresh.folder / "servers" / "work-laptop1" / "info.json"
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as stranger:
        info_file.write_text(json.dumps({**json.loads(info_file.read_text()), "pid": stranger.pid}))
        assert stop(fresh) == "gone"
        assert stranger.poll() is None
        stranger.communicate(b"\n")


def test_two_computers_get_two_servers_and_stop_only_their_own(fresh: LocalMachine) -> None:
    other = replace(WANTED, client_id="laptop2")
    with ThreadPoolExecutor() as pool:
        mine, theirs = pool.map(lambda wanted: ensure(fresh, wanted), (WANTED, other))
    assert mine.pid != theirs.pid
    assert mine.token != theirs.token
    assert stop(fresh) == "stopped"
    assert "kernels" in api(theirs, "/api/status")
    assert ensure(fresh, other).pid == theirs.pid


def test_two_starts_at_the_same_moment_make_one_server(fresh: LocalMachine) -> None:
    with ThreadPoolExecutor() as pool:
        servers = list(pool.map(lambda _: ensure(fresh), range(2)))
    assert servers[0].pid == servers[1].pid
    assert sorted(server.started_by_us for server in servers) == [False, True]


def test_stop_leaves_no_process_and_no_file_not_even_of_a_stubborn_kernel(fresh: LocalMachine) -> None:
    server = ensure(fresh)
    for _ in range(2):
        api(server, "/api/kernels", method="POST")
    wait_until(lambda: len(kernels_of(server)) == 2, Deadline(20), every_s=0.1, what="two kernels")
    os.kill(kernels_of(server)[0], signal.SIGSTOP)
    os.kill(server.pid, signal.SIGKILL)
    assert stop(fresh) == "gone"
    assert commands_of(fresh.folder) == {}
    assert not fresh.folder.exists()
    assert stop(fresh) == "gone"


def test_a_running_server_is_stopped_with_its_kernels(fresh: LocalMachine) -> None:
    """A start that is taken back takes its own server along, and the folder that it made; another's is left alone."""
    server = ensure(fresh, replace(WANTED, attempt="this"))
    api(server, "/api/kernels", method="POST")
    within = Deadline(40)
    assert jupyter.undo_start(fresh.run, replace(WANTED, attempt="another"), deadline=within), "the folder is there"
    assert isinstance(api(server, "/api/kernels"), list), "it was not touched"
    assert not jupyter.undo_start(fresh.run, replace(WANTED, attempt="this"), deadline=within)
    assert commands_of(fresh.folder) == {}
    assert not fresh.folder.exists()
    assert not (fresh.home / "content").exists()


def test_several_origins_are_allowed_and_others_are_not(fresh: LocalMachine) -> None:
    server = ensure(fresh, replace(WANTED, origins=(COLAB_ORIGIN, "https://colab.example.org")))
    config = json.loads((Path(server.directory) / "config.json").read_text())["ServerApp"]
    assert config["allow_origin"] == ""
    assert config["allow_origin_pat"] == r"^(?:https://colab\.research\.google\.com|https://colab\.example\.org)$"


def test_the_profile_sets_folder_environment_port_and_arguments(fresh: LocalMachine) -> None:
    (fresh.home / "notebooks").mkdir()
    port = free_port()
    settings = JupyterSettings(
        working_dir="~/notebooks", env={"MY_SETTING": "4 2"}, port=port, args=("--ServerApp.max_body_size=1000",)
    )
    server = ensure(fresh, replace(WANTED, settings=settings))
    assert server.port == port
    assert b"MY_SETTING=4 2\0" in Path(f"/proc/{server.pid}/environ").read_bytes()
    assert b"--ServerApp.max_body_size=1000" in Path(f"/proc/{server.pid}/cmdline").read_bytes()
    assert (fresh.home / "notebooks" / "content").is_dir()


@pytest.fixture
def near() -> Iterator[LocalMachine]:
    """A home whose path is short, as homes are: a socket's path has room for about a hundred bytes."""
    with tempfile.TemporaryDirectory(prefix="rr-") as home:
        machine = LocalMachine(Path(home))
        yield machine
        stop(machine, ON_SOCKET)


NO_SOCKETS = """
import tornado.netutil
def refuse(*args, **kwargs):
    raise PermissionError(1, "Operation not permitted")
tornado.netutil.bind_unix_socket = refuse
"""


def test_a_jupyter_that_cannot_listen_on_its_socket_is_not_waited_for(near: LocalMachine, tmp_path: Path) -> None:
    """It goes on and says so in its log only. What it did on the machine is taken back."""
    began = time.monotonic()
    (tmp_path / "sitecustomize.py").write_text(NO_SOCKETS)
    near.environ["PYTHONPATH"] = str(tmp_path)
    with pytest.raises(MachineError, match="can't listen") as caught:
        ensure(near, ON_SOCKET)
    assert caught.value.code == "jupyter-did-not-start"
    assert "Operation not permitted" in caught.value.why
    assert time.monotonic() - began < 40
    assert os.listdir(near.home) == [".local"], "the folder for Colab, too"


def test_a_socket_serves_the_user_alone_and_a_new_server_keeps_the_token(near: LocalMachine) -> None:
    first = ensure(near, ON_SOCKET)
    assert (first.port, first.socket) == (None, str(near.folder / "servers" / "work-laptop1" / "sock"))
    assert first.socket
    assert stat.S_IMODE(os.stat(first.socket).st_mode) == 0o600
    again = ensure(near, ON_SOCKET)
    assert (again.pid, again.socket, again.started_by_us) == (first.pid, first.socket, False)
    assert ensure(near, WANTED).pid == first.pid, "who cannot use sockets is told of the server, not given another one"
    os.kill(first.pid, signal.SIGKILL)
    restarted = ensure(near, ON_SOCKET)
    assert restarted.pid != first.pid
    assert restarted.token == first.token
    renewed = ensure(near, replace(ON_SOCKET, renew=True))
    assert renewed.pid == restarted.pid
    assert renewed.token != restarted.token
    assert ensure(near, ON_SOCKET).token == renewed.token
    put_back_as_if_the_launcher_had_died(near, restarted, renewed)
    assert ensure(near, ON_SOCKET).token == renewed.token
    os.kill(renewed.pid, signal.SIGKILL)
    restarted = ensure(near, replace(ON_SOCKET, renew=True))
    assert restarted.token != renewed.token, "another program may know it"
    os.kill(restarted.pid, signal.SIGKILL)
    on_port = ensure(near, WANTED)
    assert on_port.socket is None
    assert on_port.token != first.token, "on a port somebody else could have listened"


def put_back_as_if_the_launcher_had_died(machine: LocalMachine, before: Server, now: Server) -> None:
    """After the server had its new token, and before that was written down."""
    config = Path(now.directory) / "config.json"
    config.write_text(config.read_text().replace(now.token.reveal(), before.token.reveal()))
    (config.parent / "token.new").write_text(now.token.reveal())


def test_a_long_path_moves_the_socket_and_a_port_is_used_where_the_profile_names_one(fresh: LocalMachine) -> None:
    fresh.home = fresh.home / ("long" * 20)
    fresh.home.mkdir()
    fresh.environ["HOME"] = str(fresh.home)
    on_socket = ensure(fresh, ON_SOCKET)
    folder = Path(on_socket.socket or "").parent
    assert folder.stat().st_mode & 0o777 == 0o700
    stop(fresh)
    assert not folder.exists()
    port = free_port()
    server = ensure(fresh, replace(ON_SOCKET, settings=JupyterSettings(port=port)))
    assert (server.port, server.socket) == (port, None)


def test_without_home_the_password_database_tells_the_folder() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from remote_runtime.jupyter.remote.data_dir import root_dir; print(root_dir())"],
        env={"PATH": os.environ["PATH"]},
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip().endswith("/.local/share/remote-runtime")
    assert "~" not in done.stdout


def test_files_named_like_modules_in_the_home_folder_are_not_run(fresh: LocalMachine) -> None:
    for name in ("json", "queue", "random", "subprocess", "threading"):
        (fresh.home / f"{name}.py").write_text("open(__file__ + '.was-run', 'w').close()\nraise SystemExit(5)\n")
    assert jupyter.read_log(fresh.run, WANTED, offset=None, deadline=Deadline(20)).text == ""
    assert list(fresh.home.glob("*.was-run")) == []


def test_the_gpus_are_told_and_asked_for_until_they_answer(fresh: LocalMachine) -> None:
    scripts = fresh.home / "bin"
    scripts.mkdir()
    smi = scripts / "nvidia-smi"
    fresh.environ["PATH"] = f"{scripts}:{fresh.environ['PATH']}"
    smi.write_text("#!/bin/sh\necho 'the driver is not loaded'; exit 9\n")
    smi.chmod(0o755)
    assert ensure(fresh).gpus == ()
    assert any("the driver is not loaded" in note for note in ensure(fresh).notes)
    smi.write_text(f"#!/bin/sh\necho asked >> {scripts}/asked; echo 'Tesla T4, 15360, 580.95.05'\n")
    for _ in range(2):
        assert ensure(fresh).gpus == (Gpu("Tesla T4", 15360 << 20, "580.95.05"),)
    assert (scripts / "asked").read_text() == "asked\n"


def test_the_servers_kernels_are_told_with_those_installed_meanwhile(fresh: LocalMachine) -> None:
    first = ensure(fresh)
    assert [(each.name, each.language) for each in first.kernelspecs] == [("python3", "python")]
    added = fresh.home / ".local" / "share" / "jupyter" / "kernels" / "ir"
    added.mkdir(parents=True)
    (added / "kernel.json").write_text('{"argv": ["R"], "display_name": "R\\n4", "language": "R"}')
    again = ensure(fresh)
    assert (again.pid, again.kernelspecs) == (first.pid, (*first.kernelspecs, Kernelspec("ir", "R 4", "R")))


def kernels_of(server: Server) -> list[int]:
    runtime = runtime_dir.path_of(server.directory)
    return sorted(pid for pid, command in commands_of(runtime).items() if "/kernel-" in command)
