"""`doctor` names the cause of each fault in its first failing line, and leaves everything as it was."""

from __future__ import annotations

import os
import shlex
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from remote_runtime.commands.doctor import browser_checks
from remote_runtime.commands.doctor.checklist import Checklist
from remote_runtime.core.deadline import Deadline
from remote_runtime.core.model import Finding, Secret
from remote_runtime.core.profile import COLAB_ORIGIN
from remote_runtime.demo.iap_relay.server import PERMISSION
from remote_runtime.jupyter import health
from tests.support.environment.doctor import first_failure, verdicts, visit
from tests.support.environment.mounts import within_mount
from tests.support.environment.waiting import eventually
from tests.support.environment.world import World
from tests.support.faults.faults import (
    CLOUD_FAULTS,
    HURRY,
    MACHINE_FAULTS,
    Fault,
    name_of,
    ssh_host,
    write_box,
)
from tests.support.machines.gce_vm import PROJECT, CloudMachine, cloud_machine
from tests.support.machines.new_vm import empty_project
from tests.support.servers.jupyter import JupyterServer, jupyter_server
from tests.support.servers.sshd import Sshd


@pytest.fixture
def box(world: World) -> Iterator[Sshd]:
    with ssh_host(world) as sshd:
        yield sshd


# ── all is well ──


def test_what_a_vm_that_does_not_exist_needs_is_checked_and_nothing_is_created(world: World) -> None:
    with empty_project(world, profile="new") as project:
        result = visit(world, "new")
        assert result["ok"], result["findings"]
        found = {finding.check: finding for finding in result["findings"]}
        assert (found["instance"].verdict, found["instance"].code) == ("warning", "instance-not-found")
        assert "`remote-runtime up new` creates it" in found["instance"].hint
        assert found["creation"].what.startswith("g2-standard-8 (8 vCPUs, 32 GB, 1 nvidia-l4) in us-central1-a, ")
        assert [found[check].verdict for check in ("network", "creation-firewall", "egress")] == ["ok", "ok", "ok"]
        assert (found["apis"].verdict, found["ssh"].verdict) == ("skipped", "skipped")

        project.emulator.cloud.networks[project.project]["routers"].clear()
        failed = visit(world, "new")
        assert (failed["ok"], first_failure(failed).code) == (False, "no-egress")
        refused = world.run("up", "new", "--yes", "--json")
        assert (refused.code, refused.error["code"]) == (1, "no-egress")
        assert "gcloud compute routers nats create" in refused.error["hint"]
        assert project.is_empty


def test_a_path_that_works_is_walked_to_a_cell_and_taken_back(world: World, box: Sshd) -> None:
    result = visit(world, "box")
    assert result["ok"], result["findings"]
    seen = verdicts(result)
    order = (
        "profile port machine ssh host-key login interpreter jupyter bridge forward answer token cors private-network "
        "websocket kernel chrome firefox safari"
    )
    assert list(seen) == order.split()
    assert set(list(seen.values())[:-3]) == {"ok"}
    texts = {finding.check: finding.what for finding in result["findings"]}
    assert any(fingerprint in texts["host-key"] for fingerprint in box.fingerprints())
    assert f"as {box.user}" in texts["login"]
    assert box.logins() == 1
    eventually(lambda: not world.running(), within_s=10, what="nothing runs on the machine")
    assert not list((box.home / ".local/share/remote-runtime/servers").glob("*"))
    assert not list(world.state.glob("*.json"))


def test_a_stopped_vm_stays_stopped_and_is_no_failure(world: World) -> None:
    with cloud_machine(world, extra=HURRY) as vm:
        result = visit(world, "vm")
        assert vm.status == "TERMINATED"
        assert result["ok"]
        instance = next(finding for finding in result["findings"] if finding.check == "instance")
        assert (instance.verdict, instance.code) == ("warning", "instance-stopped")
        assert "`remote-runtime up vm`" in instance.hint
        seen = verdicts(result)
        assert (seen["credentials"], seen["permissions"], seen["ssh"], seen["kernel"]) == (
            "ok", "ok", "skipped", "skipped",
        )  # fmt: skip


def test_a_runtime_that_is_up_is_looked_at_and_not_disturbed(world: World, box: Sshd) -> None:
    world.up("box")
    before = world.file("box")
    for _ in range(2):
        result = visit(world, "box")
        assert result["ok"], result["findings"]
        seen = verdicts(result)
        assert seen["keeper"] == seen["kernel"] == "ok"
        colab = next(finding for finding in result["findings"] if finding.check == "colab")
        assert (colab.verdict, colab.why) == ("warning", "no browser has connected"), "doctor itself is no visitor"
    assert box.logins() == 1
    now = world.look("box")
    assert (now["state"], now["reconnects"], now["server"]["kernels"]) == ("ready", 0, 0)
    assert now["server"]["pid"] == before["server"]["pid"]
    assert "Ready at http://localhost:" in str(visit(world, None)["findings"])


# ── the cloud ──


@pytest.mark.parametrize("fault", [fault for fault in CLOUD_FAULTS if fault.check], ids=name_of)
def test_each_fault_of_the_cloud_is_the_first_failing_line(world: World, fault: Fault[CloudMachine]) -> None:
    with cloud_machine(world, extra=HURRY) as vm:
        fault.put(vm, world)
        result = visit(world, "vm")
        assert vm.status == "TERMINATED"
    names(result, fault.check, fault.code, fault.words)


@pytest.mark.parametrize("fault", [fault for fault in CLOUD_FAULTS if not fault.check], ids=name_of)
def test_what_only_a_start_shows_is_remembered_of_the_last_up(world: World, fault: Fault[CloudMachine]) -> None:
    with cloud_machine(world, extra=HURRY) as vm:
        fault.put(vm, world)
        assert world.run("up", "vm").code == 1
        names(visit(world, "vm"), "start", fault.code, fault.words)


def test_a_firewall_in_the_way_is_the_first_failing_line(world: World) -> None:
    with cloud_machine(world, status="RUNNING", extra=HURRY) as vm:
        vm.emulator.cloud.networks[PROJECT]["firewalls"] = []
        vm.sshd.refuse()
        names(visit(world, "vm"), "firewall", "firewall-blocked", f"tcp:{vm.sshd.port}")


# ── the way in, and the machine ──


@pytest.mark.parametrize("fault", MACHINE_FAULTS, ids=name_of)
def test_each_fault_of_the_machine_is_the_first_failing_line(world: World, box: Sshd, fault: Fault[Sshd]) -> None:
    fault.put(box, world)
    result = visit(world, "box")
    box.resume()
    names(result, fault.check, fault.code, fault.words)
    eventually(lambda: not world.running(), within_s=10, what="nothing is left on the machine")


def test_a_machine_where_up_would_install_jupyter_is_no_failure(world: World, box: Sshd) -> None:
    (box.home / ".profile").write_text("export PATH=/usr/bin:/bin\n")
    bare = f"SetEnv HOME={box.home} PATH=/usr/bin:/bin"
    config = box.directory / "config"
    config.write_text("\n".join([bare, *(line for line in config.read_text().splitlines() if "SetEnv" not in line)]))
    result = visit(world, "box")
    assert result["ok"], result["findings"]
    jupyter = next(finding for finding in result["findings"] if finding.check == "jupyter")
    assert (jupyter.verdict, jupyter.code) == ("warning", "jupyter-missing")
    assert verdicts(result)["bridge"] == "skipped"
    assert not (box.home / ".local/share/remote-runtime/venv").exists()


def test_an_iap_that_refuses_is_the_first_failing_line(world: World) -> None:
    with cloud_machine(world, status="RUNNING", external=False, extra=HURRY) as vm:
        vm.emulator.forbidden_permissions.add(PERMISSION)
        result = visit(world, "vm")
    names(result, "ssh", "iap-refused", "roles/iap.tunnelResourceAccessor")


def test_a_full_disk_is_the_first_failing_line(world: World, box: Sshd) -> None:
    """Of the file system that our folder would be in, on a mount that only this machine's commands see."""
    (box.home / ".local").mkdir()
    command = within_mount(f"-t tmpfs -o size=16k tmpfs {box.home / '.local'}")
    script = box.directory / "within"
    script.write_text(f'#!/bin/sh\nexec {shlex.join(command)} sh -c "$SSH_ORIGINAL_COMMAND"\n')
    script.chmod(0o755)
    config = box.directory / "config"
    config.write_text(f"ForceCommand {script}\n{config.read_text()}")
    names(visit(world, "box"), "jupyter", "disk-full", "remote-runtime")


# ── here ──


def test_a_port_in_use_is_named_and_the_rest_is_checked_all_the_same(world: World, box: Sshd) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        write_box(world, box, HURRY + f"forward: {{local_port: {port}}}\n")
        result = visit(world, "box")
    names(result, "port", "port-in-use", str(port))
    assert verdicts(result)["kernel"] == "ok"


@pytest.mark.parametrize(
    ("name", "text", "code", "words"),
    [
        ("box", "version: 1\ntarget: {kind: local}\nforwrd: {}\n", "profile-invalid", "forward"),
        ("box", "version: 1\ntarget: {kind: local\n", "profile-invalid", "box.yaml:"),
        ("boxx", "version: 1\ntarget: {kind: local}\n", "profile-not-found", "box"),
    ],
)
def test_a_profile_that_cannot_be_used_is_the_only_line(
    world: World, name: str, text: str, code: str, words: str
) -> None:
    world.profile("box", text)
    result = visit(world, name)
    names(result, "profile", code, words)
    assert set(list(verdicts(result).values())[1:]) == {"skipped"}


def test_a_state_file_that_cannot_be_read_is_named(world: World, box: Sshd) -> None:
    world.state.mkdir(mode=0o700)
    (world.state / "box.json").write_text('{"schema": 1, "runt')
    names(visit(world, "box"), "keeper", "state-unreadable", "box.json")


def test_a_background_process_that_was_killed_is_named_and_its_server_left_alone(world: World, box: Sshd) -> None:
    world.up("box")
    server = world.file("box")["server"]
    keeper = world.keeper("box")
    keeper.kill()
    keeper.wait(10)
    result = visit(world, "box")
    names(result, "keeper", "keeper-died", "remote-runtime up box")
    texts = {finding.check: finding.what for finding in result["findings"]}
    assert "Already running" in texts["jupyter"]
    assert (server["socket"] or f"127.0.0.1:{server['port']}") in texts["forward"]
    os.kill(server["pid"], 0)


# ── the page's view ──


@pytest.fixture(scope="module")
def jupyter() -> Iterator[JupyterServer]:
    with jupyter_server() as server:
        yield server


def looked(at: health.Endpoint, within_s: float = 60.0) -> list[Finding]:
    checklist = Checklist("work", lambda finding: None)
    browser_checks.check_page(checklist, at, Deadline(within_s))
    return checklist.findings


def failing(findings: list[Finding]) -> tuple[str, str]:
    return next((finding.check, finding.code) for finding in findings if finding.verdict == "failed")


def test_a_frozen_server_does_not_answer(jupyter: JupyterServer) -> None:
    os.kill(jupyter.pid, signal.SIGSTOP)
    try:
        findings = looked(health.Endpoint(jupyter.port, Secret(jupyter.token), (COLAB_ORIGIN,)), 1.5)
    finally:
        os.kill(jupyter.pid, signal.SIGCONT)
    assert failing(findings) == ("answer", "not-answering")
    assert {finding.verdict for finding in findings[1:]} == {"skipped"}


def test_a_stranger_is_told_apart(jupyter: JupyterServer) -> None:
    assert failing(looked(health.Endpoint(jupyter.port, Secret("cd" * 24), (COLAB_ORIGIN,)))) == (
        "answer", "stranger-answered",
    )  # fmt: skip


def test_another_origin_is_a_matter_of_cors(jupyter: JupyterServer) -> None:
    findings = looked(health.Endpoint(jupyter.port, Secret(jupyter.token), ("https://notebooks.example",)))
    assert failing(findings) == ("cors", "origin-refused")
    assert findings[1] == Finding("token", "ok", "Accepted")


# ── the report ──


def test_a_report_has_what_an_issue_needs_and_no_token(world: World, box: Sshd, tmp_path: Path) -> None:
    planted = "c0ffee" * 8
    env = f"jupyter: {{env: {{MY_SETTING: {planted}, API_KEY: hunter2}}}}\n"
    write_box(world, box, HURRY + env)
    url = world.up("box")
    token = url.rpartition("=")[2]
    with (world.state / "box.log").open("a") as log:
        log.write(
            f"a line with {token}, token={token}, what hunter2 opens and mail of "
            "jane.doe@example.com\n-----BEGIN OPENSSH PRIVATE"
        )
        log.write(" KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA\n-----END OPENSSH PRIVATE KEY-----\nya29.a0AfB_by-CDE-fg\n")
    path = tmp_path / "report.md"
    result = visit(world, "box", report_to=path)
    assert result["ok"]
    text = path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    for secret in (token, planted, "hunter2", "jane.doe", "b3BlbnNz", "a0AfB_by", str(world.home)):
        assert secret not in text, secret
    versions = ("remote-runtime: ", "Python: ", "paramiko: ", "OpenSSH: ")
    facts = ("[kernel]", '"kind": "ssh"', '"state": "ready"', "ready on local port", "ServerApp", "a line with ***")
    assert [needed for needed in (*versions, *facts) if needed not in text] == []


def names(result: dict[str, object], check: str | None, code: str, words: str) -> None:
    """The first failing line is this one; it says why and what next; what needs it is skipped by its name."""
    finding = first_failure(result)
    assert (finding.check, finding.code) == (check, code), finding
    assert finding.why, finding
    assert finding.hint, finding
    assert "PROFILE" not in finding.why + finding.hint
    assert words.lower() in f"{finding.what} {finding.why} {finding.hint}".lower(), finding
    findings = [each for each in result["findings"] if isinstance(each, Finding)]  # type: ignore[attr-defined]  # a list
    after = findings[findings.index(finding) + 1 :]
    assert all(each.why for each in after if each.verdict == "skipped")
