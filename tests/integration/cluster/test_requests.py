"""What the machines of a cluster reply, with the real Dask and without SSH."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from remote_runtime.cluster import requests
from remote_runtime.cluster.certificates import make_credentials
from remote_runtime.core.cluster import ClusterSettings, WorkerGroup
from remote_runtime.core.deadline import Deadline
from remote_runtime.core.errors import MachineError
from remote_runtime.core.profile import JupyterSettings
from tests.support.environment.old_pythons import old_python
from tests.support.environment.processes import commands_of
from tests.support.environment.waiting import eventually
from tests.support.machines.local_machine import LocalMachine

SETTINGS = JupyterSettings(python=sys.executable)
HEAD = requests.MachineSpec("work-client1", SETTINGS, make_credentials())
CLUSTER = ClusterSettings((WorkerGroup("a"),), threads=1, memory="300MB")
LIMIT_S = 60.0


def silent(text: str) -> None:
    pass


@pytest.fixture
def machine(own_home: Path) -> Iterator[LocalMachine]:
    yield LocalMachine(own_home)
    for key in (HEAD.key, f"{HEAD.key}.a"):
        requests.stop(LocalMachine(own_home).run, key, SETTINGS, deadline=Deadline(LIMIT_S))


def write_kernelspec(home: Path, python: str) -> None:
    folder = home / f".local/share/remote-runtime/servers/{HEAD.key}/data/kernels/python3"
    folder.mkdir(parents=True)
    (folder / "kernel.json").write_text(json.dumps({"argv": [python]}))


def start_scheduler(machine: LocalMachine) -> requests.Scheduler:
    prepared = requests.prepare(machine.run, HEAD, 0, progress=silent, deadline=Deadline(LIMIT_S))
    return requests.start_scheduler(machine.run, HEAD, prepared.port, progress=silent, deadline=Deadline(LIMIT_S))


def start_worker(machine: LocalMachine, scheduler: requests.Scheduler, python: str = sys.executable) -> None:
    spec = requests.MachineSpec(f"{HEAD.key}.a", JupyterSettings(python=python), HEAD.credentials)
    requests.start_worker(machine.run, spec, "a", CLUSTER, scheduler, progress=silent, deadline=Deadline(LIMIT_S))


def other_python(folder: Path, base: str = sys.executable, **packages: str) -> str:
    """An environment in which these packages seem to be installed."""
    subprocess.run([base, "-m", "venv", "--without-pip", str(folder)], check=True)
    (site,) = folder.glob("lib/python3*/site-packages")
    for name, version in packages.items():
        (site / f"{name}-{version}.dist-info").mkdir()
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        (site / f"{name}-{version}.dist-info/METADATA").write_text(metadata)
    return str(folder / "bin/python")


def test_a_worker_joins_a_stranger_does_not_and_a_second_start_keeps_the_scheduler(
    own_home: Path, machine: LocalMachine
) -> None:
    write_kernelspec(own_home, sys.executable)
    scheduler = start_scheduler(machine)
    start_worker(machine, scheduler)
    processes = set(commands_of(f"{HEAD.key}/"))
    again = requests.start_scheduler(machine.run, HEAD, scheduler.port, progress=silent, deadline=Deadline(LIMIT_S))
    assert (again.port, again.versions) == (scheduler.port, scheduler.versions)
    assert processes <= set(commands_of(f"{HEAD.key}/"))

    def joined() -> tuple[requests.ReportedWorker, ...]:
        return requests.watch(machine.run, HEAD, "", for_s=1.0, deadline=Deadline(LIMIT_S)).workers

    eventually(joined, what="the scheduler reports the worker")
    (worker,) = joined()
    assert (worker.name, worker.threads, worker.memory) == ("a", 1, 300_000_000)
    stranger = requests.MachineSpec(f"{HEAD.key}.b", SETTINGS, make_credentials())
    there = requests.Scheduler(scheduler.port, scheduler.versions, ("127.0.0.2",))
    with pytest.raises(MachineError) as refusal:
        requests.start_worker(machine.run, stranger, "b", CLUSTER, there, progress=silent, deadline=Deadline(LIMIT_S))
    assert refusal.value.why == "127.0.0.2: another program answers, without this cluster's certificate"
    for key in (HEAD.key, f"{HEAD.key}.a", f"{HEAD.key}.b"):
        requests.stop(machine.run, key, SETTINGS, deadline=Deadline(LIMIT_S))
    assert not (own_home / ".local/share/remote-runtime/clusters").exists()
    assert commands_of(f"clusters/{HEAD.key}") == {}


def test_versions_must_be_those_of_the_scheduler(tmp_path: Path, machine: LocalMachine) -> None:
    scheduler = requests.Scheduler(1, versions_here(), ("127.0.0.1",))
    with pytest.raises(MachineError) as missing:
        start_worker(machine, scheduler, other_python(tmp_path / "none"))
    assert missing.value.code == "cluster-engine-missing"
    assert f"-m pip install distributed=={versions_here()['distributed']} cloudpickle==" in missing.value.hint
    with pytest.raises(MachineError) as mismatch:
        start_worker(machine, scheduler, other_python(tmp_path / "old", distributed="2020.1.0", cloudpickle="1.0"))
    assert mismatch.value.code == "cluster-version-mismatch"
    assert "distributed 2020.1.0" in mismatch.value.why
    assert f"distributed {versions_here()['distributed']}" in mismatch.value.why
    other = requests.Scheduler(1, {**versions_here(), "python": "3.6"}, ("127.0.0.1",))
    with pytest.raises(MachineError) as python:
        start_worker(machine, other)
    assert python.value.hint == "The machine suggests: Set `jupyter.python` in the worker's profile to a Python 3.6"


def versions_here() -> dict[str, str]:
    from importlib.metadata import version

    packages = {name: version(name) for name in ("distributed", "cloudpickle")}
    return {"python": "{}.{}".format(*sys.version_info[:2]), **packages}


def test_a_kernel_without_dask_is_an_error_with_the_command(
    own_home: Path, tmp_path: Path, machine: LocalMachine
) -> None:
    python = other_python(tmp_path / "none")
    write_kernelspec(own_home, python)
    with pytest.raises(MachineError) as failure:
        start_scheduler(machine)
    assert failure.value.code == "cluster-engine-missing"
    assert failure.value.hint == f"The machine suggests: Run `{python} -m pip install distributed` there"


def test_a_scheduler_that_is_not_reached_is_an_error_that_says_why(machine: LocalMachine) -> None:
    with silent_listener() as closed, pytest.raises(MachineError) as failure:
        start_worker(machine, requests.Scheduler(closed, versions_here(), ("127.0.0.2", "127.0.0.1")))
    assert failure.value.code == "cluster-network"
    assert failure.value.why == "127.0.0.2: Connection refused"


def test_the_oldest_python_gets_as_far(tmp_path: Path, machine: LocalMachine) -> None:
    python = other_python(tmp_path / "old", old_python("3.8"), distributed="1", cloudpickle="1")
    spec = requests.MachineSpec(HEAD.key, JupyterSettings(python=python), HEAD.credentials)
    prepared = requests.prepare(machine.run, spec, 0, progress=silent, deadline=Deadline(LIMIT_S))
    versions = {"python": "3.8", "distributed": "1", "cloudpickle": "1"}
    with pytest.raises(MachineError) as failure:
        start_worker(machine, requests.Scheduler(prepared.port, versions, ("127.0.0.2",)), python)
    assert failure.value.code == "cluster-network"
    assert requests.stop(machine.run, spec.key, spec.settings, deadline=Deadline(LIMIT_S))


def test_a_port_in_use_is_an_error_of_its_own(own_home: Path, machine: LocalMachine) -> None:
    write_kernelspec(own_home, sys.executable)
    with socket.create_server(("", 0)) as taken, pytest.raises(MachineError) as failure:
        requests.start_scheduler(machine.run, HEAD, taken.getsockname()[1], progress=silent, deadline=Deadline(LIMIT_S))
    assert failure.value.code == "cluster-port-in-use"


@contextmanager
def silent_listener() -> Iterator[int]:
    """A port at which nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]
