"""The idle watchdog: a real process beside a real Jupyter; what counts as use, and what it does when there is none."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from websockets.sync.client import connect

from remote_runtime.core.deadline import Deadline
from remote_runtime.core.errors import MachineError
from remote_runtime.core.model import Server
from remote_runtime.core.profile import COLAB_ORIGIN, IdleSettings, JupyterSettings
from remote_runtime.demo.gcp_api.metadata_server import MetadataServer
from remote_runtime.demo.gcp_api.values import Vm
from remote_runtime.jupyter import health
from remote_runtime.jupyter import server as jupyter
from remote_runtime.jupyter.remote import activity, autostart, processes, shutdown
from remote_runtime.jupyter.remote import idle_watchdog as watchdog
from remote_runtime.jupyter.remote.activity import ResourceUse
from tests.support.clients.page import Page
from tests.support.environment import google_discovery
from tests.support.environment.processes import commands_of, end_processes_of
from tests.support.environment.waiting import eventually
from tests.support.faults.faulty_emulator import FaultyEmulator, RequestFault
from tests.support.machines.local_machine import LocalMachine
from tests.support.servers.sshd import Sshd, running_sshd

REPOSITORY = Path(__file__).resolve().parents[3]
AFTER_S = 3.0
WANTED = jupyter.ServerSpec(
    "work", "laptop1", JupyterSettings(), (COLAB_ORIGIN,), False, IdleSettings(AFTER_S, "stop-server")
)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[LocalMachine]:
    machine = LocalMachine(tmp_path / "home")
    yield machine
    jupyter.stop(machine.run, WANTED, deadline=Deadline(40))
    left = commands_of(machine.home)
    end_processes_of(machine.home)
    assert left == {}


def ensure(machine: LocalMachine, wanted: jupyter.ServerSpec = WANTED, *, person: bool = True) -> Server:
    return jupyter.ensure(machine.run, wanted, progress=lambda text: None, deadline=Deadline(60), user_requested=person)


def page_of(server: Server) -> Page:
    return Page(f"http://127.0.0.1:{server.port}/?token={server.token.reveal()}")


def ends(server: Server, within_s: float = 30.0) -> None:
    eventually(lambda: not psutil.pid_exists(server.pid) or None, within_s=within_s, what="the server is ended")


def log_of(machine: LocalMachine) -> str:
    return jupyter.tail_log(machine.run, WANTED, lines=50, deadline=Deadline(20)).text


# ── a server ──


def test_a_server_that_nobody_uses_is_ended_says_so_and_is_not_started_again_by_a_repair(
    machine: LocalMachine,
) -> None:
    server = ensure(machine)
    assert server.notes[-1] == "The watchdog stops Jupyter and its kernels after 3s without activity"
    ends(server)
    assert "no activity for 3 seconds" in log_of(machine)
    with pytest.raises(MachineError) as refused:
        ensure(machine, person=False)
    assert refused.value.code == "stopped-when-idle"
    assert psutil.pid_exists(ensure(machine).pid), "a person gets a new one"


def test_a_busy_kernel_keeps_it_and_its_end_begins_the_wait(machine: LocalMachine) -> None:
    server = ensure(machine)
    page = page_of(server)
    kernel = page.start_kernel()
    page.run(kernel, f"import time; time.sleep({2.5 * AFTER_S})")
    assert psutil.pid_exists(server.pid)
    ends(server)


def test_an_open_terminal_keeps_it(machine: LocalMachine) -> None:
    server = ensure(machine)
    page = page_of(server)
    status, terminal = page.ask("POST", "/api/terminals", b"{}")
    assert status == 200
    url = f"ws://127.0.0.1:{server.port}/terminals/websocket/{terminal['name']}?token={page.token}"
    with connect(url, origin=None):
        time.sleep(2.5 * AFTER_S)  # the time itself is what is tested
        assert psutil.pid_exists(server.pid)
    ends(server)


def test_a_frozen_jupyter_that_does_nothing_is_ended_too(machine: LocalMachine) -> None:
    server = ensure(machine)
    os.kill(server.pid, signal.SIGSTOP)
    ends(server, within_s=60.0)


def test_a_repair_that_restarts_jupyter_does_not_begin_the_wait_again(machine: LocalMachine) -> None:
    patient = replace(WANTED, idle=IdleSettings(20.0, "stop-server"))
    server = ensure(machine, patient)
    (seen,) = eventually(lambda: [idle_s for idle_s in looked(server) if idle_s])
    os.kill(server.pid, signal.SIGKILL)
    ends(server)
    again = ensure(machine, patient, person=False)
    assert again.pid != server.pid
    (first,) = eventually(lambda: looked(again))
    assert first >= seen


def looked(server: Server) -> list[float]:
    """For how long nothing was used, as the watchdog saw it last; nothing before its first look."""
    try:
        return [float(json.loads((Path(server.directory) / "idle.json").read_text())["idle_s"])]
    except FileNotFoundError:
        return []


def test_down_ends_the_watchdog_and_a_rule_that_has_changed_replaces_it(machine: LocalMachine) -> None:
    never = replace(WANTED, idle=IdleSettings(3600.0, "stop-server"))
    ensure(machine, never)
    (first,) = watchdogs(machine)
    ensure(machine, never)
    assert watchdogs(machine) == [first], "the same rule keeps it"
    ensure(machine, replace(WANTED, idle=IdleSettings(7200.0, "stop-server")))
    (second,) = watchdogs(machine)
    assert second != first
    ensure(machine, replace(WANTED, idle=IdleSettings()))
    assert watchdogs(machine) == []
    jupyter.stop(machine.run, WANTED, deadline=Deadline(40))
    assert not machine.folder.exists()


def watchdogs(machine: LocalMachine) -> list[int]:
    return [pid for pid, command in commands_of(machine.home).items() if "watch.py" in command]


def on_watch(server: Server) -> int:
    """The process that has taken up its orders."""
    orders = json.loads((Path(server.directory) / watchdog.RULE_FILE).read_text())
    return int(orders["pid"])


# ── the machine ──


@pytest.fixture
def cloud(machine: LocalMachine, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyEmulator]:
    """The machine is the instance ``gpu-box`` of an emulated cloud, and may do what its service account may. It has a
    Local SSD, so a request has to say what becomes of its data."""
    vm = Vm("gpu-box", status="RUNNING", local_ssds=1)
    with FaultyEmulator([vm]) as emulator, MetadataServer(vm) as metadata:
        surroundings = {
            "GCE_METADATA_HOST": metadata.address,
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": emulator.endpoint,
        }
        machine.environ.update(surroundings)
        for name, value in surroundings.items():
            monkeypatch.setenv(name, value)
        yield emulator


def status_of(cloud: FaultyEmulator) -> str:
    return str(cloud.cloud.instance("demo", "us-central1-a", "gpu-box").status)


@pytest.mark.parametrize(("do", "becomes"), [("stop-instance", "TERMINATED"), ("suspend-instance", "SUSPENDED")])
def test_an_instance_stops_itself_although_jupyter_died(
    machine: LocalMachine, cloud: FaultyEmulator, do: str, becomes: str
) -> None:
    server = ensure(machine, replace(WANTED, idle=IdleSettings(AFTER_S, do)))  # type: ignore[arg-type]  # one of its words
    told = "\n".join(server.notes)
    assert "with its own service account" in told
    assert ("deletes the data on its Local SSD" in told) == (do == "stop-instance")
    os.kill(server.pid, signal.SIGKILL)
    eventually(lambda: status_of(cloud) == becomes or None, within_s=30)
    assert [found for exchange in cloud.exchanges for found in google_discovery.complaints(exchange)] == []


REFUSED = RequestFault(400, "invalid", "Instance\ncannot be stopped: \x1b[31m policy keep-awake")


def test_a_stop_that_is_refused_is_told_in_googles_words_until_it_is_used_again(
    machine: LocalMachine, cloud: FaultyEmulator
) -> None:
    cloud.cloud.refusals["stop"] = REFUSED
    wanted = replace(WANTED, idle=IdleSettings(AFTER_S, "stop-instance"))
    server = ensure(machine, wanted)
    assert server.idle is not None
    assert (server.idle.how, server.idle.failed) == ("service-account", "")
    page = page_of(server)

    def told() -> str:
        return str(page.ask("GET", "/api/remote-runtime")[1]["idle"].get("failed") or "")

    words = "Compute Engine rejected the request: Instance cannot be stopped: "
    assert words in eventually(lambda: told() or None)
    assert "policy keep-awake" in told()
    door = health.Endpoint(server.port or 0, server.token, (COLAB_ORIGIN,))
    assert words in health.read_usage(door, Deadline(10)).idle_failed
    assert "\x1b" not in health.read_usage(door, Deadline(10)).idle_failed
    again = ensure(machine, wanted, person=False)  # a person's would be a use
    assert again.idle is not None
    assert words in again.idle.failed
    assert words in "\n".join(again.notes)
    assert words in log_of(machine)
    page.start_kernel()
    eventually(lambda: told() == "" or None)
    assert status_of(cloud) == "RUNNING"


def test_what_cannot_be_done_is_told_at_up(machine: LocalMachine, cloud: FaultyEmulator) -> None:
    cloud.forbidden_permissions.add("compute.instances.stop")
    server = ensure(machine, replace(WANTED, idle=IdleSettings(3600.0, "stop-instance")))
    assert server.idle is not None
    assert server.idle.how == "none"
    told = "Idle stop does not work here: the VM's service account lacks"
    assert told in "\n".join(server.notes)


def test_without_the_permission_a_real_instance_is_powered_off(
    cloud: FaultyEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "product").write_text("Google Compute Engine\n")
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "systemctl").write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/said\n')
    listed = "User me may run the following commands on vm:\n    (ALL : ALL) NOPASSWD: ALL"
    (programs / "sudo").write_text(f'#!/bin/sh\nshift\n[ "$1" = -l ] || exec "$@"\necho "{listed}"\n')
    for program in programs.iterdir():
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    cloud.forbidden_permissions.add("compute.instances.suspend")
    way = shutdown.find_method("suspend-instance", str(tmp_path / "product"))
    assert (way.how, way.verb) == ("power-off", "stop")
    assert shutdown.shut_down("suspend-instance", str(tmp_path / "product")) == ""
    assert (tmp_path / "said").read_text() == "poweroff\n"
    assert shutdown.find_method("suspend-instance", str(tmp_path / "none")).how == "none", (
        "another computer is left alone"
    )

    def stop(**known: bool) -> str:
        (tmp_path / "said").unlink(missing_ok=True)
        return shutdown.shut_down("stop-instance", str(tmp_path / "product"), **known)

    # The service account may stop it, and is refused; or it is accepted, and nothing happens.
    cloud.cloud.refusals["stop"] = REFUSED
    assert stop() == ""
    assert (tmp_path / "said").read_text() == "poweroff\n"
    (programs / "sudo").write_text("#!/bin/sh\nexit 1\n")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "policy keep-awake" in stop()
    assert not (tmp_path / "said").exists()
    assert "accepted the request to stop it, but it is still running" in stop(accepted=True)
    # What is in its memory would be lost.
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    cloud.forbidden_permissions.clear()
    cloud.cloud.refusals["suspend"] = REFUSED
    assert "policy keep-awake" in shutdown.shut_down("suspend-instance", str(tmp_path / "product"))
    assert not (tmp_path / "said").exists()


@pytest.mark.parametrize(
    "endpoint",
    ["http://10.254.254.1/compute/v1/", "http://10.254.254.1\\@127.0.0.1/", "http://127.0.0.1@10.254.254.1/"],
)
def test_the_machines_own_token_does_not_travel_in_the_clear(
    cloud: FaultyEmulator, monkeypatch: pytest.MonkeyPatch, endpoint: str
) -> None:
    monkeypatch.setenv("CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE", endpoint)
    assert "expected an https:// URL" in shutdown.find_method("stop-instance").why
    assert cloud.exchanges == []


def test_a_sudo_that_does_not_answer_is_no_way_and_no_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sudo").write_text("#!/bin/sh\nexec sleep 60\n")
    (tmp_path / "poweroff").write_text("#!/bin/sh\n")
    for name in ("sudo", "poweroff"):
        (tmp_path / name).chmod(0o755)
    (tmp_path / "product").write_text("Google Compute Engine\n")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("GCE_METADATA_HOST", "127.0.0.1:1")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert shutdown.find_method("stop-instance", str(tmp_path / "product")).how == "none"


def test_cron_starts_the_watchdog_again_and_down_takes_the_line_away(
    machine: LocalMachine, cloud: FaultyEmulator, tmp_path: Path
) -> None:
    table = tmp_path / "table"
    table.write_text("5 4 * * * backup --all\n")
    programs = tmp_path / "programs"
    programs.mkdir()
    crontab = f'#!/bin/sh\ncase "$1" in -l) cat "{table}" ;; -r) rm "{table}" ;; -) cat > "{table}" ;; esac\n'
    (programs / "crontab").write_text(crontab)
    (programs / "crontab").chmod(0o755)
    machine.environ["PATH"] = f"{programs}:{machine.environ['PATH']}"
    with subprocess.Popen(["cron", "60"], executable="/bin/sleep", env={}) as daemon:
        try:
            server = ensure(machine, replace(WANTED, idle=IdleSettings(3600.0, "stop-instance")))
            assert server.idle is not None
            assert server.idle.reboot == "cron"
            kept, ours = table.read_text().splitlines()
            assert kept == "5 4 * * * backup --all"
            command = ours.removeprefix("@reboot ").partition(" #")[0]
            (watchdog,) = watchdogs(machine)
            os.kill(watchdog, signal.SIGKILL)
            again = subprocess.Popen(["/bin/sh", "-c", f"exec {command}"], env=machine.environ)
            try:
                eventually(lambda: on_watch(server) == again.pid or None)
                assert watchdogs(machine) == [again.pid]
                jupyter.stop(machine.run, WANTED, deadline=Deadline(40))
            finally:
                again.wait(20)
            assert table.read_text() == "5 4 * * * backup --all\n"
        finally:
            daemon.kill()


@pytest.mark.parametrize("before", ["no", "yes"])
def test_systemd_starts_the_watchdog_again_and_the_user_lingers_afterwards_as_before(
    machine: LocalMachine, cloud: FaultyEmulator, tmp_path: Path, before: str
) -> None:
    lingers = tmp_path / "lingers"
    lingers.write_text(f"{before}\n")
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "systemctl").write_text("#!/bin/sh\n")
    (programs / "loginctl").write_text(
        f'#!/bin/sh\ncase "$1" in show-user) read -r is < {lingers}; echo "Linger=$is" ;; '
        f"enable-linger) echo yes > {lingers} ;; disable-linger) echo no > {lingers} ;; esac\n"
    )
    for program in programs.iterdir():
        program.chmod(0o755)
    machine.environ["PATH"] = f"{programs}:{Path(sys.executable).parent}"  # no cron here
    other = replace(WANTED, name="other", idle=IdleSettings(3600.0, "stop-instance"))
    for wanted in (replace(WANTED, idle=IdleSettings(3600.0, "stop-instance")), other):
        server = ensure(machine, wanted)
        assert server.idle is not None
        assert server.idle.reboot == "systemd"
    jupyter.stop(machine.run, other, deadline=Deadline(40))
    assert lingers.read_text() == "yes\n", "one of ours is left"
    jupyter.stop(machine.run, WANTED, deadline=Deadline(40))
    assert lingers.read_text() == f"{before}\n"
    assert not machine.folder.exists()


def test_a_start_that_failed_half_way_leaves_no_line_in_the_crontab(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "table").write_text("@reboot x # remote-runtime work-laptop1\n5 4 * * * backup\n")
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "crontab").write_text(f'#!/bin/sh\n[ "$1" = -l ] && cat {tmp_path}/table || cat > {tmp_path}/table\n')
    (programs / "crontab").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    directory = tmp_path / "work-laptop1"
    directory.mkdir()
    (directory / watchdog.PROGRAM_FILE).touch()  # the disk was full for its orders
    watchdog.end(str(directory))
    assert (tmp_path / "table").read_text() == "5 4 * * * backup\n"


@pytest.mark.parametrize(
    ("table", "after"),
    [
        (b"# a\x0cb\xe2\x80\xa8c\r\n@reboot x # remote-runtime work\nlast", b"# a\x0cb\xe2\x80\xa8c\r\nlast"),
        (b"@reboot x # remote-runtime work2\n", b"@reboot x # remote-runtime work2\n"),
    ],
)
@pytest.mark.parametrize("readable", [True, False])
def test_every_other_byte_of_a_crontab_stays_and_one_that_cannot_be_read_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: bytes, after: bytes, readable: bool
) -> None:
    (tmp_path / "table").write_bytes(table)
    programs = tmp_path / "programs"
    programs.mkdir()
    reading = f"cat {tmp_path}/table" if readable else "echo denied >&2; exit 1"
    (programs / "crontab").write_text(f'#!/bin/sh\ncase "$1" in -l) {reading} ;; *) cat > {tmp_path}/table ;; esac\n')
    (programs / "crontab").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(tmp_path))
    autostart.remove("work")
    assert (tmp_path / "table").read_bytes() == (after if readable else table)


def test_a_busy_kernel_of_another_runtime_keeps_the_machine(machine: LocalMachine, cloud: FaultyEmulator) -> None:
    other = replace(WANTED, name="other", idle=IdleSettings())
    page = page_of(ensure(machine, other))
    kernel = page.start_kernel()
    ensure(machine, replace(WANTED, idle=IdleSettings(AFTER_S, "stop-instance")))
    try:
        page.run(kernel, f"import time; time.sleep({2.5 * AFTER_S})")
        assert status_of(cloud) == "RUNNING"
        eventually(lambda: status_of(cloud) == "TERMINATED" or None, within_s=30)
    finally:
        jupyter.stop(machine.run, other, deadline=Deadline(40))


# ── sessions ──


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Sshd]:
    with running_sshd(tmp_path) as sshd:
        yield sshd


def in_sessions(box: Sshd) -> str:
    """What the watchdog of the account would see, in words."""
    code = (
        "from remote_runtime.jupyter.remote import activity; "
        "print(activity.session_activity(activity.process_table()).what)"
    )
    environ = {"HOME": str(box.home), "PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def ssh_to(box: Sshd, *words: str, terminal: bool = False) -> subprocess.Popen[bytes]:
    options = [
        "-F",
        "none",
        "-o",
        "StrictHostKeyChecking=no",
        "-o",
        "UserKnownHostsFile=/dev/null",
        "-o",
        "LogLevel=QUIET",
    ]
    command = ["ssh", *options, *(["-tt"] if terminal else []), "-i", str(box.key_path), "-p", str(box.port)]
    pipe = subprocess.PIPE
    return subprocess.Popen([*command, f"{box.user}@127.0.0.1", *words], stdin=pipe, stdout=pipe, stderr=pipe)


def test_a_command_that_runs_over_ssh_is_a_use_until_it_ends(box: Sshd) -> None:
    assert in_sessions(box) == ""
    with ssh_to(box, "sleep 600") as session:
        eventually(lambda: in_sessions(box) or None)
        assert "over SSH" in in_sessions(box)
        box.cut()
        end_processes_of(box.home)
        session.communicate(timeout=20)
    assert in_sessions(box) == ""


def test_a_program_in_a_terminal_is_a_use_and_a_shell_that_waits_is_one_since_it_was_last_typed_in(box: Sshd) -> None:
    with ssh_to(box, terminal=True) as session:
        assert session.stdin is not None
        session.stdin.write(b"sleep 600\n")
        session.stdin.flush()
        assert eventually(lambda: in_sessions(box) or None) == "sleep runs in a terminal"
        session.stdin.write(b"\x03")
        session.stdin.flush()
        eventually(lambda: in_sessions(box) == "" or None)
        session.stdin.write(b"exit\n")
        session.communicate(timeout=20)


def test_a_program_that_took_the_place_of_its_shell_is_a_use(box: Sshd) -> None:
    with ssh_to(box, terminal=True) as session:
        assert session.stdin is not None
        session.stdin.write(b"exec sleep 600\n")
        session.stdin.flush()
        assert "runs in a terminal" in eventually(lambda: in_sessions(box) or None)
        session.kill()
        session.communicate(timeout=20)


def test_a_training_of_tmux_is_a_use_and_its_shells_that_wait_are_none(box: Sshd) -> None:
    tmux = f"tmux -S {box.home}/tmux"
    with ssh_to(box, f"{tmux} new-session -d; {tmux} send-keys bash Enter; sleep 1") as session:
        session.communicate(timeout=20)
    eventually(lambda: sum("bash" in command for command in commands_of(box.home).values()) >= 2 or None)
    eventually(lambda: in_sessions(box) == "" or None)
    with ssh_to(box, f"{tmux} new-session -d 'sleep 600'") as session:
        session.communicate(timeout=20)
    assert eventually(lambda: in_sessions(box) or None) == "sleep runs in a terminal"


COMPUTE = "import time; end = time.time() + 60\nwhile time.time() < end: pass"
AS_ROOT = os.geteuid() == 0
CONTAINER = ["env", "-i", "unshare", "--pid", "--fork", *([] if AS_ROOT else ["--map-root-user"])]


@pytest.mark.parametrize(
    ("before", "code", "seen"),
    [
        ([], COMPUTE, "works"),
        (["env", "JPY_PARENT_PID=4242"], COMPUTE, "works, a kernel's"),
        (CONTAINER, COMPUTE, "works in a container" if AS_ROOT else "works"),
        ([], "import time; time.sleep(60)", ""),
        ([], f"{COMPUTE}\n# {activity.LAUNCHER_MARK}", ""),
    ],
    ids=["nohup", "of a kernel", "in a container", "waits", "ours"],
)
def test_a_job_in_the_background_is_a_use_while_it_computes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: list[str], code: str, seen: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    started = tmp_path / "started"
    code = f"open({str(started)!r}, 'w').close()\n{code}"
    with subprocess.Popen([*before, sys.executable, "-c", code], start_new_session=True) as job:
        try:
            eventually(started.exists, what="Python's own start is no part of the job")
            effort = ResourceUse()
            assert effort.busy_pids() == set(), "the first look knows of no time between"
            time.sleep(0.5)  # the time itself is what is measured
            working = effort.busy_pids() & set(processes.process_tree(job.pid, "\0"))
            said = activity.background_activity(activity.process_table(), working).what.partition(" ")[2]
            assert said + ", a kernel's" * activity.is_kernel_working(4242, working) == seen
        finally:
            os.killpg(job.pid, signal.SIGKILL)


def test_a_gpu_that_computes_is_a_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    for said, computes in (("0\n87\n", True), ("3\n", False), ("[N/A]\n", False), ("No devices were found\n", False)):
        program.write_text(f"#!/bin/sh\nprintf '{said}'\n")
        program.chmod(0o755)
        assert ResourceUse().is_gpu_busy() is computes


def test_what_was_left_behind_by_a_session_that_ended_is_none(box: Sshd) -> None:
    with ssh_to(box, "setsid sleep 600 >/dev/null 2>&1 </dev/null &") as session:
        session.communicate(timeout=20)
    eventually(lambda: commands_of(box.home) or None)
    eventually(lambda: in_sessions(box) == "" or None)
