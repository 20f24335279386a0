"""Why a private environment cannot be made: no room, no programs there, no package index. Real file systems and pip."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from remote_runtime.core.deadline import Deadline
from remote_runtime.core.errors import MachineError
from remote_runtime.core.profile import COLAB_ORIGIN, JupyterSettings
from remote_runtime.jupyter import server
from remote_runtime.jupyter.remote import disk_space, installer
from remote_runtime.launcher.remote.reply import ReplyWriter, ReportedError
from tests.support.environment.mounts import within_mount
from tests.support.machines.local_machine import LocalMachine

WANTED = server.ServerSpec("work", "laptop1", JupyterSettings(), (COLAB_ORIGIN,))


@pytest.mark.parametrize(
    ("options", "code", "why", "hint"),
    [
        ("size=12m", "disk-full", "MB left for", ""),
        ("size=1g,nr_inodes=900", "disk-full", "inodes left for", ""),
        ("size=1g,noexec", "jupyter-install-failed", "noexec", "jupyter.python"),
    ],
)
def test_a_home_that_cannot_hold_an_environment_is_named_before_one_is_made(
    options: str, code: str, why: str, hint: str, tmp_path: Path
) -> None:
    machine = LocalMachine(tmp_path / "home", path=["/usr/bin", "/bin"])
    (machine.home / ".local").mkdir()
    machine.within = within_mount(f"-t tmpfs -o {options} tmpfs {machine.home}/.local")
    told: list[str] = []
    with pytest.raises(MachineError) as caught:
        server.ensure(machine.run, WANTED, progress=lambda text: told.append(text), deadline=Deadline(60))
    assert caught.value.code == code
    assert why in caught.value.why
    assert hint in caught.value.hint
    assert not any(line.startswith("Creating") for line in told)


def test_a_disk_that_fills_while_a_program_writes_is_the_reason_whatever_else_the_program_says(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    python = tmp_path / "python3"
    python.write_text('#!/bin/sh\nhead -c 9000000 /dev/zero > ~/fill 2>/dev/null\necho "ensurepip failed"; exit 1\n')
    python.chmod(0o755)
    script = (
        "import os, sys; sys.path.insert(0, sys.argv[1])\n"
        "from remote_runtime.jupyter.remote import interpreters, private_venv\n"
        "from remote_runtime.launcher.remote import reply\n"
        "base = interpreters.Interpreter(sys.argv[2], '3.12.3')\n"
        "os.makedirs(private_venv.root_dir())\n"
        "said = reply.ReplyWriter('', open(os.devnull, 'w'), 30)\n"
        "try: private_venv.create(private_venv.root_dir() + '/venv', base, said, os.environ, '')\n"
        "except reply.ReportedError as failure: print(failure.error['code'], failure.error['why'])"
    )
    done = subprocess.run(
        [
            *within_mount(f"-t tmpfs -o size=3500k tmpfs {home}"),
            sys.executable, "-c", script, str(Path(__file__).parents[3]), str(python),
        ],
        env={"HOME": str(home), "PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.startswith("disk-full 0 MB left for ")
    for words in ("No space left on device", "Disk quota exceeded"):
        failure = disk_space.disk_full_cause(f"OSError: [Errno 28] {words}")
        assert failure
        assert failure.error["code"] == "disk-full"
    assert disk_space.disk_full_cause("ensurepip is not available") is None


@pytest.fixture
def silent() -> Iterator[int]:
    """A package index that swallows what it is sent."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_a_machine_without_a_way_to_a_package_index_is_told_so(
    silent: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It refuses at once, or it never answers: pip's words while it tries again say so, however long it goes on."""
    monkeypatch.setenv("HOME", str(tmp_path))
    python = tmp_path / ".local/share/remote-runtime/venv/bin/python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    for index in (port, silent):
        (tmp_path / "venv").mkdir(exist_ok=True)
        env = {
            **os.environ,
            "PIP_RETRIES": "1",
            "PIP_DEFAULT_TIMEOUT": "0.5",
            "PIP_INDEX_URL": f"http://127.0.0.1:{index}/simple",
            "PIP_CONFIG_FILE": os.devnull,
        }
        with pytest.raises(ReportedError) as caught:
            installer.Installer(str(tmp_path / "venv"), env, ReplyWriter("", io.StringIO(), 60.0), "").install(
                ["no-such"]
            )
        error = caught.value.error
        assert error["code"] == "jupyter-install-failed"
        assert "package index" in error["what"]
        assert "onnect" in error["why"]
        assert "Cloud NAT" in error["hint"]
        assert "jupyter.python" in error["hint"]
        assert installer.timeout_error(error["why"]).error == error


def test_an_index_that_answers_is_not_blamed() -> None:
    retried = "WARNING: Retrying (Retry(total=1)) after connection broken by 'ReadTimeoutError(...)': /simple/numpy/\n"
    assert installer.is_index_unreachable(retried + "ERROR: No matching distribution found (from versions: none)")
    assert not installer.is_index_unreachable(retried + "ERROR: No matching distribution (from versions: 1.0, 2.0)")
    assert not installer.is_index_unreachable(retried + "ERROR: Failed building wheel for numpy")
    assert not installer.is_index_unreachable("ERROR: No matching distribution found (from versions: none)")
    untrusted = installer.index_error("Could not fetch URL https://pypi.org: CERTIFICATE_VERIFY_FAILED")
    assert "global.cert" in untrusted.error["hint"]
