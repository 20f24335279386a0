"""``compute``'s functions, called in a worker process with Google's client, against the emulator over HTTP."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from remote_runtime import compute
from remote_runtime.compute import handlers, worker, worker_protocol
from remote_runtime.core.deadline import Deadline
from remote_runtime.core.errors import CloudError, DeadlinePassed, Interrupted
from remote_runtime.core.model import Instance
from remote_runtime.core.profile import GceTarget
from remote_runtime.demo.gcp_api.emulator import ComputeEmulator
from remote_runtime.demo.gcp_api.values import Delays, Vm
from tests.support.environment.google_environ import emulator_environ

TARGET = GceTarget(instance="gpu-box", project="demo")


def environ(endpoint: str) -> dict[str, str]:
    return {
        **os.environ,
        **emulator_environ(endpoint),
    }


class Told(list[str]):
    def __call__(self, text: str) -> None:
        self.append(text)


def find(endpoint: str, *, told: Told | None = None, deadline: Deadline | None = None,
         started: list[Instance] | None = None, extra: Mapping[str, str] | None = None) -> Instance:  # fmt: skip
    return compute.find(
        TARGET,
        progress=told if told is not None else Told(),
        deadline=deadline or Deadline(30),
        environ={**environ(endpoint), **(extra or {})},
        before_start=(started if started is not None else []).append,
        host_keys_within_s=0.0,
    )


def children() -> list[str]:
    listing = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    return [Path(f"/proc/{pid}/cmdline").read_text() for pid in listing.read_text().split()]


def test_find_change_read_and_put_back_work_through_the_worker() -> None:
    told, started = Told(), list[Instance]()
    with ComputeEmulator([Vm("gpu-box")]) as emulator:
        found = find(emulator.endpoint, told=told, started=started)
        given = {"progress": told, "deadline": Deadline(60), "environ": environ(emulator.endpoint)}
        seen = compute.reload(found, **given)  # type: ignore[arg-type]  # a dict has one type for all its values
        suspended = compute.set_status(found, "suspend", **given)  # type: ignore[arg-type]  # likewise
        resumed = compute.set_status(found, "resume", **given)  # type: ignore[arg-type]  # likewise
        back = compute.restore_status(found, **given)  # type: ignore[arg-type]  # likewise
    assert (found.status, found.started_from, found.host_keys) == ("RUNNING", "TERMINATED", ())
    assert [(each.name, each.started_from) for each in started] == [("gpu-box", "TERMINATED")]
    assert seen == found
    assert (suspended, resumed) == ("SUSPENDED", "RUNNING")
    assert back in ("STOPPING", "TERMINATED")
    assert told[0].startswith("Finding gpu-box in project demo, in any zone")
    assert "Starting gpu-box (TERMINATED)" in told


def test_every_function_that_a_worker_carries_out_is_called_in_one() -> None:
    values = {"InstanceSummary", "ProjectList", "ReadyOptions"}
    assert {*compute.__all__} - values - {*compute.IN_THIS_PROCESS} == handlers.HANDLERS.keys()


def test_an_error_of_the_worker_arrives_with_code_reason_and_hint() -> None:
    with ComputeEmulator([Vm("gpu-boy")]) as emulator, pytest.raises(CloudError) as caught:
        find(emulator.endpoint)
    assert caught.value.code == "instance-not-found"
    assert caught.value.why == "Instances in demo: gpu-boy (us-central1-a, TERMINATED)"


def test_cancelled_work_ends_the_worker_within_two_seconds() -> None:
    cancelled, cancelled_at = threading.Event(), list[float]()
    with ComputeEmulator([Vm("gpu-box", status="STAGING")]) as emulator:

        def cancel_once_waiting(text: str) -> None:
            if "STAGING" in text:
                assert any("remote_runtime.compute" in command for command in children())
                cancelled_at.append(time.monotonic())
                cancelled.set()

        with pytest.raises(Interrupted):
            compute.find(TARGET, progress=cancel_once_waiting, deadline=Deadline(60, cancelled),
                         environ=environ(emulator.endpoint), before_start=lambda instance: None)  # fmt: skip
        assert time.monotonic() - cancelled_at[0] < 20
    assert not any("remote_runtime.compute" in command for command in children())


def test_an_api_that_never_answers_is_unreachable_before_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(CloudError) as caught:
        find(f"http://127.0.0.1:{silent.getsockname()[1]}", deadline=Deadline(10))
    assert caught.value.code == "cloud-unreachable"


def test_a_worker_that_does_not_even_get_to_its_deadline_is_ended_at_ours() -> None:
    with ComputeEmulator([Vm("gpu-box")]) as emulator:
        began = time.monotonic()
        with pytest.raises(DeadlinePassed) as caught:
            find(emulator.endpoint, deadline=Deadline(0.2))
        assert time.monotonic() - began < 15
    assert caught.value.what == "Compute Engine took more than 0.2 s"
    assert not any("remote_runtime.compute" in command for command in children())


def test_nothing_is_started_when_the_record_of_it_cannot_be_kept() -> None:
    def full_disk(instance: Instance) -> None:
        raise OSError("no space left on device")

    with ComputeEmulator([Vm("gpu-box")]) as emulator:
        with pytest.raises(OSError, match="no space"):
            compute.find(TARGET, progress=Told(), deadline=Deadline(30), environ=environ(emulator.endpoint),
                         before_start=full_disk)  # fmt: skip
        assert "compute.instances.start" not in [exchange.method_id for exchange in emulator.exchanges]
        assert emulator.cloud.instances[0].status == "TERMINATED"


def killed_once_started(vm: Vm, deaths: int) -> tuple[Told, list[Instance], Instance | CloudError]:
    """``compute.find`` while the system ends the child as soon as the instance starts, ``deaths`` times."""
    told, started, killed = Told(), list[Instance](), list[int]()

    def tell(text: str) -> None:
        told(text)
        if len(killed) < deaths and ("(PROVISIONING)" in text or "(STAGING)" in text):
            (worker_pid,) = (
                int(pid)
                for pid in Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
                if "remote_runtime.compute" in Path(f"/proc/{pid}/cmdline").read_text()
            )
            killed.append(worker_pid)
            os.kill(worker_pid, signal.SIGKILL)

    with ComputeEmulator([vm], delays=Delays(start_s=8.0)) as emulator:
        try:
            found: Instance | CloudError = compute.find(
                TARGET, progress=tell, deadline=Deadline(60), environ=environ(emulator.endpoint),
                before_start=started.append, host_keys_within_s=0.0,
            )  # fmt: skip
        except CloudError as error:
            found = error
        assert [each.method_id for each in emulator.exchanges].count("compute.instances.start") == 1
    return told, started, found


def test_a_worker_that_is_killed_is_tried_once_more_and_what_it_started_is_still_ours() -> None:
    told, started, found = killed_once_started(Vm("gpu-box"), deaths=1)
    assert isinstance(found, Instance)
    assert [each.started_from for each in started] == ["TERMINATED"]
    assert (found.status, found.started_from) == ("RUNNING", "TERMINATED")
    assert any("SIGKILL" in text and "once more" in text for text in told)


def test_a_worker_that_is_killed_twice_has_a_code_of_its_own() -> None:
    _, started, error = killed_once_started(Vm("gpu-box"), deaths=2)
    assert isinstance(error, CloudError)
    assert error.code == "cloud-client-killed"
    assert "memory" in error.why
    assert [each.started_from for each in started] == ["TERMINATED"], "it can be put back"


WITH_LITTLE_MEMORY = """
import os, resource, sys
from remote_runtime import compute
from remote_runtime.core.errors import CloudError
from remote_runtime.core.profile import GceTarget
from remote_runtime.core.deadline import Deadline
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]) << 20,) * 2)
try:
    compute.find(GceTarget("x", project="p"), progress=print, deadline=Deadline(60), environ=os.environ,
                 before_start=print)
except CloudError as error:
    print(error.code)
"""


def test_a_worker_without_memory_is_no_bug() -> None:
    done = subprocess.run([sys.executable, "-c", WITH_LITTLE_MEMORY, "60"], capture_output=True, text=True, check=False,
                          timeout=100, env=environ("http://127.0.0.1:9"))  # fmt: skip
    assert done.stdout.splitlines()[-1:] == ["cloud-client-killed"], done.stderr


def test_a_worker_whose_parent_is_gone_ends_by_itself() -> None:
    with ComputeEmulator([Vm("gpu-box", status="STAGING")]) as emulator:
        options = {"host_keys_within_s": 0.0}
        request = {"call": "find", "arguments": [TARGET], "options": options, "callbacks": ["before_start"]}
        line = worker_protocol.encode({**request, "timeout_s": 60, "until": time.time() + 60})
        orphan = subprocess.Popen([sys.executable, "-m", "remote_runtime.compute"], stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE, env=environ(emulator.endpoint))  # fmt: skip
        with orphan:
            assert orphan.stdin is not None
            assert orphan.stdout is not None
            orphan.stdin.write(line)
            orphan.stdin.flush()
            told = b""
            while b"STAGING" not in told:
                told = orphan.stdout.readline()
                assert told
            orphan.stdin.close()
            assert orphan.wait(5) == 0


def test_a_bug_in_the_worker_surfaces_with_its_traceback() -> None:
    with pytest.raises(RuntimeError) as caught:
        worker.call("nonsense", progress=Told(), deadline=Deadline(20), environ=environ("http://127.0.0.1:9"))
    assert "Traceback" in str(caught.value)
    assert "KeyError: 'nonsense'" in str(caught.value)
    assert "(exit status 1)" in str(caught.value)


def test_a_proxy_of_the_environment_is_not_asked_for_loopback() -> None:
    proxy = {"http_proxy": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9", "no_proxy": "example.com"}
    with ComputeEmulator([Vm("gpu-box", status="RUNNING")]) as emulator:
        assert find(emulator.endpoint, extra=proxy).status == "RUNNING"


def test_a_stranger_repository_in_the_current_directory_is_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('imported from the current directory')")
    monkeypatch.chdir(tmp_path)
    with ComputeEmulator([Vm("gpu-box", status="RUNNING")]) as emulator:
        assert find(emulator.endpoint).status == "RUNNING"


def test_missing_credentials_are_told_within_seconds(tmp_path: Path) -> None:
    extra = {
        "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "",
        "HOME": str(tmp_path),
        "CLOUDSDK_CONFIG": str(tmp_path / "gcloud"),
        "GCE_METADATA_HOST": "127.0.0.1:9",
        "GCE_METADATA_IP": "127.0.0.1:9",
        "GOOGLE_APPLICATION_CREDENTIALS": "",
    }
    began = time.monotonic()
    with pytest.raises(CloudError) as caught:
        find("https://127.0.0.1:9/", extra=extra)
    assert caught.value.code == "no-credentials"
    assert caught.value.hint.endswith("un `gcloud auth application-default login`")
    assert time.monotonic() - began < 12


def test_the_caller_imports_no_google_library() -> None:
    check = "import sys, remote_runtime.compute; print([name for name in sys.modules if name.startswith('google')])"
    answer = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, timeout=20, check=True)
    assert answer.stdout.strip() == "[]"
