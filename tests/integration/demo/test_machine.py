"""``python -m remote_runtime.demo``: a stopped machine that starts, is entered over SSH, and leaves nothing."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import signal
import socket
import stat
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import asyncssh
import paramiko
import psutil
import pytest

from remote_runtime.demo.processes import MARKER
from tests.support.environment.processes import commands_of
from tests.support.environment.waiting import eventually

WITHIN_S = 20.0
READ_ZONE = """
import os, urllib.request as http
url = f"http://{os.environ['GCE_METADATA_HOST']}/computeMetadata/v1/instance/zone"
print(http.urlopen(http.Request(url, headers={"Metadata-Flavor": "Google"})).read().decode())
"""


@dataclass
class Demo:
    """A demo machine in a process of its own."""

    process: subprocess.Popen[str]
    path: Path
    facts: dict[str, Any]

    def request(self, path: str, *, post: bool = False, body: Any = None, method: str | None = None) -> Any:
        data = json.dumps(body or {}).encode() if post or body else None
        url = path if path.startswith("http") else self.facts["endpoint"] + path
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(url, data, headers, method=method)  # noqa: S310 - loopback http
        with urllib.request.urlopen(request, timeout=WITHIN_S) as response:  # noqa: S310 - loopback http
            return json.load(response)

    @property
    def instance(self) -> str:
        return f"projects/{self.facts['project']}/zones/{self.facts['zone']}/instances/{self.facts['instance']}"

    def change(self, verb: str) -> None:
        assert "error" not in self.done(self.request(f"{self.instance}/{verb}", post=True))

    def done(self, operation: Any) -> Any:
        path = operation["selfLink"].partition("/compute/v1/")[2]
        done = self.request(f"{path}/wait", post=True)
        assert done["status"] == "DONE"
        return done

    def host_keys(self) -> dict[str, str]:
        try:
            answer = self.request(f"{self.instance}/getGuestAttributes?queryPath=hostkeys/")
        except urllib.error.HTTPError as error:
            error.close()
            return {}
        return {item["key"]: item["value"] for item in answer["queryValue"]["items"]}

    def start(self) -> dict[str, str]:
        """Answers its host keys, when it accepts SSH."""
        self.change("start")
        eventually(self.answers, what="an answer at the SSH port")
        keys: dict[str, str] = eventually(self.host_keys, what="host keys in the guest attributes")
        return keys

    def answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.facts["ssh_port"]), timeout=WITHIN_S) as connection:
                return connection.recv(4) == b"SSH-"
        except ConnectionError:
            return False

    @contextmanager
    def ssh(self, **others: Any) -> Iterator[paramiko.Transport]:
        connection = socket.create_connection(("127.0.0.1", self.facts["ssh_port"]), timeout=WITHIN_S)
        transport = paramiko.Transport(connection)
        try:
            transport.start_client(timeout=WITHIN_S)
            key = others.get("key") or paramiko.Ed25519Key.from_private_key_file(self.facts["identity_file"])
            transport.auth_publickey(others.get("user", self.facts["user"]), key)
            yield transport
        finally:
            transport.close()
            connection.close()

    def processes(self) -> list[psutil.Process]:
        return [process for process in psutil.process_iter() if str(self.path) in home_of(process)]


def has_ended(pid: int) -> bool:
    return not psutil.pid_exists(pid)


def home_of(process: psutil.Process) -> str:
    try:
        environment = process.environ() if process.status() != psutil.STATUS_ZOMBIE else {}
        return str(environment.get("HOME", "")) if MARKER in environment else ""
    except psutil.Error:
        return ""


@contextmanager
def demo(path: Path, *options: str) -> Iterator[Demo]:
    environment = {**os.environ, "SECRET_OF_THE_CALLER": "s3cret"}
    command = [sys.executable, "-m", "remote_runtime.demo", str(path), *options]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        eventually(lambda: (path / "machine.json").exists() or process.poll() is not None, what="machine.json")
        assert process.poll() is None, process.stderr and process.stderr.read()
        yield Demo(process, path, json.loads((path / "machine.json").read_text()))
    finally:
        if process.poll() is None:
            process.terminate()
        _, complaints = process.communicate(timeout=WITHIN_S)
        assert complaints == ""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """Started, and to be left running."""
    with demo(tmp_path_factory.mktemp("demo") / "machine") as machine:
        machine.start()
        yield machine


def run(transport: paramiko.Transport, command: str, stdin: bytes = b"") -> tuple[int, bytes, bytes]:
    channel = transport.open_session(timeout=WITHIN_S)
    channel.settimeout(WITHIN_S)
    channel.exec_command(command)
    channel.sendall(stdin)
    channel.shutdown_write()
    stdout, stderr = channel.makefile("rb").read(), channel.makefile_stderr("rb").read()
    return channel.recv_exit_status(), stdout, stderr


# ── SSH ──


def test_a_command_has_its_streams_and_its_exit_status(running: Demo) -> None:
    with running.ssh() as transport:
        assert run(transport, "cat; echo oops >&2; exit 7", b"typed") == (7, b"typed", b"oops\n")
        status, zeros, _ = run(transport, "head -c 9000000 /dev/zero")
        assert (status, len(zeros)) == (0, 9_000_000)
        assert run(transport, "wc -c", b"x" * 3_000_000)[1].strip() == b"3000000"


def test_the_environment_is_the_machines_own(running: Demo) -> None:
    with running.ssh() as transport:
        output = run(transport, "env; pwd; command -v python3; bash -lc 'command -v python3'")[1].decode().split("\n")
    python = f"{os.path.dirname(sys.executable)}/python3"
    assert output[-4:] == [str(running.path / "home"), python, python, ""]
    assert f"HOME={running.path / 'home'}" in output
    assert [line for line in output if "s3cret" in line or line.startswith(("PYTEST", "VIRTUAL_ENV"))] == []
    assert [line for line in output if line.startswith(f"{MARKER}=")]


def test_a_background_process_outlives_the_channel_only_with_its_streams_redirected(running: Demo) -> None:
    with running.ssh() as transport:
        _, pid, _ = run(transport, "sleep 600 </dev/null >/dev/null 2>&1 & echo $!")
        assert psutil.Process(int(pid)).is_running()
        channel = transport.open_session()
        channel.settimeout(WITHIN_S)
        channel.exec_command("sleep 600 & echo $!")
        holder = psutil.Process(int(channel.recv(100)))
        channel.settimeout(0.3)
        with pytest.raises(TimeoutError):
            channel.recv(100)
        holder.terminate()
        channel.settimeout(WITHIN_S)
        assert channel.recv(100) == b""
        assert channel.recv_exit_status() == 0
        psutil.Process(int(pid)).terminate()


def test_a_command_whose_client_has_gone_can_write_no_more(running: Demo) -> None:
    with running.ssh() as transport:
        channel = transport.open_session()
        channel.exec_command("echo $$; exec yes")
        pid = int(channel.makefile("rb").readline())
    eventually(partial(has_ended, pid), what="the end of yes")


def test_a_client_that_vanishes_amid_a_flood_disturbs_nobody(running: Demo) -> None:
    for command in ("cat /dev/zero", "cat /dev/zero >&2", "sleep 600"):
        with running.ssh() as transport:
            channel = transport.open_session()
            channel.exec_command(f"echo $$; exec {command}")
            pid = int(channel.makefile("rb").readline())
            if command == "sleep 600":
                channel.settimeout(0.2)
                with pytest.raises(TimeoutError):
                    channel.sendall(bytes(8_000_000))
        if command == "sleep 600":
            psutil.Process(pid).terminate()
        eventually(partial(has_ended, pid), what=f"the end of {command}")


def test_a_shell_has_a_terminal_with_a_size_and_an_exit_status(running: Demo) -> None:
    with running.ssh() as transport:
        channel = transport.open_session()
        channel.settimeout(WITHIN_S)
        channel.get_pty("xterm", width=101, height=37)
        channel.invoke_shell()
        seen = bytearray()

        def expect(text: bytes) -> None:
            while text not in seen:
                received = channel.recv(4096)
                assert received, bytes(seen)
                seen.extend(received)

        channel.sendall(b"stty size; echo term:$TERM\n")
        expect(b"37 101")
        expect(b"term:xterm")
        channel.resize_pty(width=55, height=11)
        channel.sendall(b"stty size\n")
        expect(b"11 55")
        channel.sendall(b"PS1='re''ady> '; sleep 601\n")
        eventually(lambda: "sleep 601" in commands_of(running.path / "home").values(), what="sleep 601")
        channel.sendall(b"\x03")
        expect(b"ready> ")
        channel.sendall(b"exit 5\n")
        while channel.recv(4096):
            pass
        assert channel.recv_exit_status() == 5


def test_a_terminal_that_is_hung_up_ends_its_shell(running: Demo) -> None:
    with running.ssh() as transport:
        channel = transport.open_session()
        channel.get_pty()
        channel.exec_command("echo $$; sleep 600")
        pid = int(channel.makefile("rb").readline())
    eventually(partial(has_ended, pid), what="the end of the shell")


def test_files_are_put_into_the_home(running: Demo) -> None:
    with running.ssh() as transport:
        sftp = paramiko.SFTPClient.from_transport(transport)
        assert sftp is not None
        with sftp.file("notes.txt", "wb") as file:
            file.write(b"hello")
        assert sftp.normalize(".") == str(running.path / "home")
    assert (running.path / "home" / "notes.txt").read_bytes() == b"hello"


def test_forwards_go_to_loopback_and_nowhere_else(running: Demo) -> None:
    with socket.create_server(("127.0.0.1", 0)) as backend, running.ssh() as transport:
        channel = transport.open_channel("direct-tcpip", backend.getsockname(), ("127.0.0.1", 0), timeout=WITHIN_S)
        accepted, _ = backend.accept()
        with accepted:
            channel.sendall(b"ping")
            assert accepted.recv(4) == b"ping"
        with pytest.raises(paramiko.ChannelException, match="rohibited"):
            transport.open_channel("direct-tcpip", ("192.0.2.1", 80), ("127.0.0.1", 0), timeout=WITHIN_S)


def test_forwards_reach_unix_sockets(running: Demo) -> None:
    path = running.path / "home" / "s"

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.readexactly(4)).upper())
        await writer.drain()
        writer.close()

    async def converse() -> bytes:
        server = await asyncio.start_unix_server(answer, path)
        async with (
            server,
            asyncssh.connect(
                "127.0.0.1",
                running.facts["ssh_port"],
                username=running.facts["user"],
                client_keys=[running.facts["identity_file"]],
                known_hosts=None,
                config=None,
            ) as connection,
        ):
            reader, writer = await connection.open_unix_connection(str(path))
            writer.write(b"ping")
            return bytes(await reader.readexactly(4))

    assert asyncio.run(asyncio.wait_for(converse(), WITHIN_S)) == b"PING"


def test_only_the_generated_key_of_the_right_user_opens(running: Demo, tmp_path: Path) -> None:
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(tmp_path / "other")
    other = paramiko.Ed25519Key.from_private_key_file(str(tmp_path / "other"))
    for attempt in ({"key": other}, {"user": "nobody-here"}):
        with pytest.raises(paramiko.AuthenticationException), running.ssh(**attempt):
            pass
    with socket.create_connection(("127.0.0.1", running.facts["ssh_port"]), timeout=WITHIN_S) as connection:
        transport = paramiko.Transport(connection)
        transport.start_client(timeout=WITHIN_S)
        with pytest.raises(paramiko.BadAuthenticationType) as refusal:
            transport.auth_password(running.facts["user"], "x", fallback=False)
        assert refusal.value.allowed_types == ["publickey"]
        transport.close()


def test_a_client_that_talks_nonsense_disturbs_nobody(running: Demo) -> None:
    with socket.create_connection(("127.0.0.1", running.facts["ssh_port"]), timeout=WITHIN_S) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n\r\n" * 100)
        assert connection.recv(4) == b"SSH-"
    with running.ssh() as transport:
        assert run(transport, "true")[0] == 0


# ── the machine ──


def test_what_it_writes_is_readable_for_its_user_alone(running: Demo) -> None:
    modes = {name: stat.S_IMODE((running.path / name).stat().st_mode) for name in (".", "key", "machine.json")}
    assert modes == {".": 0o700, "key": 0o600, "machine.json": 0o600}
    assert running.facts["identity_file"] == str(running.path / "key")


def test_a_stopped_machine_starts_stops_with_all_its_processes_and_starts_again(tmp_path: Path) -> None:
    with demo(tmp_path / "machine") as machine:
        assert machine.request(machine.instance)["status"] == "TERMINATED"
        with pytest.raises(ConnectionRefusedError), machine.ssh():
            pass
        keys = machine.start()
        with machine.ssh() as transport:
            shown = transport.get_remote_server_key()
            assert keys[shown.get_name()] == shown.get_base64()
            assert run(transport, "trap '' TERM; setsid sleep 600 </dev/null >/dev/null 2>&1 &")[0] == 0
            transport.open_session().exec_command("sleep 600")
            eventually(lambda: len(machine.processes()) >= 2, what="both sleeps")
            machine.change("stop")
            eventually(lambda: not transport.is_active(), what="the end of the connection")
        assert machine.processes() == []
        assert not machine.answers()
        assert machine.start() == keys
        with machine.ssh() as transport:
            assert run(transport, "echo again")[1] == b"again\n"


def test_a_machine_is_created_where_there_is_capacity_and_deleted_with_all_its_processes(tmp_path: Path) -> None:
    source = "projects/debian-cloud/global/images/family/debian-12"
    with demo(tmp_path / "machine", "--no-instance", "--exhausted-zone=us-central1-a") as machine:
        assert not machine.answers()
        for zone in ("us-central1-a", "us-central1-b"):
            wanted = {
                "name": "new",
                "machineType": f"zones/{zone}/machineTypes/e2-standard-4",
                "disks": [{"boot": True, "autoDelete": True, "initializeParams": {"sourceImage": source}}],
                "networkInterfaces": [{}],
                "metadata": {"items": [{"key": "enable-guest-attributes", "value": "TRUE"}]},
            }
            done = machine.done(machine.request(f"projects/demo/zones/{zone}/instances", body=wanted))
            assert ("error" in done) == (zone == "us-central1-a")
        machine.facts |= {"zone": "us-central1-b", "instance": "new"}
        eventually(machine.answers, what="an answer at the SSH port")
        keys = eventually(machine.host_keys, what="host keys in the guest attributes")
        with machine.ssh() as transport:
            assert keys["ssh-ed25519"] == transport.get_remote_server_key().get_base64()
            zone_seen = run(transport, shlex.join([sys.executable, "-c", READ_ZONE]))[1]
            assert zone_seen == b"projects/1/zones/us-central1-b\n"
            transport.open_session().exec_command("sleep 600")
            eventually(machine.processes, what="the sleep")
            machine.done(machine.request(machine.instance, method="DELETE"))
        assert machine.processes() == []
        assert not machine.answers()


def test_a_suspended_machine_stands_still_and_goes_on_where_it_was(tmp_path: Path) -> None:
    with demo(tmp_path / "machine") as machine:
        machine.start()
        with machine.ssh() as transport:
            channel = transport.open_session()
            channel.settimeout(WITHIN_S)
            channel.exec_command("while sleep 0.02; do echo tick; done")
            assert channel.recv(5) == b"tick\n"
            machine.change("suspend")
            assert {process.status() for process in machine.processes()} == {psutil.STATUS_STOPPED}
            probe = transport.open_session
            with pytest.raises(paramiko.SSHException):
                probe(timeout=0.3)
            machine.change("resume")
            while channel.recv_ready():
                channel.recv(4096)
            assert channel.recv(5) == b"tick\n"


@pytest.mark.parametrize("how", ["SIGTERM", "SIGINT", "shutdown", "machine.json"])
def test_the_end_leaves_no_process_and_no_file(tmp_path: Path, how: str) -> None:
    with demo(tmp_path / "machine") as machine:
        if how == "shutdown":
            machine.start()
            with machine.ssh() as transport:
                run(transport, "setsid sleep 600 </dev/null >/dev/null 2>&1 &")
            assert machine.processes()
        if how == "shutdown":
            assert machine.request(machine.facts["shutdown"], post=True) == {}
        elif how == "machine.json":
            (machine.path / "machine.json").unlink()
        else:
            machine.process.send_signal(getattr(signal, how))
        assert machine.process.wait(WITHIN_S) == 0
        assert not machine.path.exists()
        assert machine.processes() == []


def test_what_a_killed_machine_left_is_cleaned_up_by_the_next(tmp_path: Path) -> None:
    with demo(tmp_path / "machine") as machine:
        machine.start()
        with machine.ssh() as transport:
            run(transport, "setsid sleep 600 </dev/null >/dev/null 2>&1 & touch left")
        assert machine.processes()
        machine.process.kill()
        machine.process.wait(WITHIN_S)
        (machine.path / "machine.json").unlink()
        with demo(tmp_path / "machine") as following:
            assert following.processes() == []
            assert not (following.path / "home" / "left").exists()


def refused(*arguments: str) -> tuple[int, str]:
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    command = [sys.executable, "-m", "remote_runtime.demo", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=WITHIN_S)
    assert done.stdout == ""
    return done.returncode, done.stderr


def test_a_directory_with_other_things_or_in_use_is_refused_and_untouched(running: Demo, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    (tmp_path / "link").symlink_to(tmp_path)
    for path, why in ((tmp_path, "not empty"), (running.path, "is running"), (tmp_path / "thesis.txt", "exists")):
        status, complaint = refused(str(path))
        assert (status, complaint.count("\n")) == (1, 1)
        assert why in complaint
    assert (tmp_path / "thesis.txt").read_text() == "years of work"
    assert running.path.exists()
