"""What the scripts say on a computer that lacks what they need."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ("cat", "cksum", "dirname", "id", "sh")
TOO_OLD = "exit 1"
NO_ENSUREPIP = 'case "$2" in *ensurepip*) exit 1;; *-venv*) echo python3.12-venv;; esac'


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    for name in ("setup.cfg", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    (tmp_path / "bin").mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found is not None
        (tmp_path / "bin" / tool).symlink_to(found)
    return tmp_path


def test_without_a_python_that_is_new_enough_it_says_so(clone: Path) -> None:
    done = run(clone, "quickstart", {"python3": TOO_OLD})
    assert done.returncode != 0
    assert done.stderr.startswith("error: there is no Python 3.10 or newer on PATH")
    assert done.stdout == ""


def test_a_python_without_venv_is_named_with_the_package_it_lacks(clone: Path) -> None:
    done = run(clone, "quickstart", {"python3": TOO_OLD, "python3.12": NO_ENSUREPIP})
    assert done.returncode != 0
    assert done.stderr.splitlines() == [
        "error: python3.12 cannot make virtual environments: its package python3.12-venv is missing",
        "  next: apt-get install python3.12-venv",
    ]


def test_what_is_installed_already_is_not_installed_again(clone: Path) -> None:
    where = clone / ".venv" / "bin"
    where.mkdir(parents=True)
    program(where / "python", 'case "$*" in *pip*) echo "$*" >>.venv/pip;; esac')
    for _ in range(2):
        assert run(clone, "install", {}, "demo").returncode == 0
    installs = [line for line in (clone / ".venv" / "pip").read_text().splitlines() if "install" in line]
    assert installs == ["-m pip install -qq uv", "-m uv pip install -q --compile-bytecode -e .[demo]"]


def test_where_uv_cannot_install_pip_does(clone: Path) -> None:
    where = clone / ".venv" / "bin"
    where.mkdir(parents=True)
    program(where / "python", 'case "$*" in *"uv pip"*) exit 1;; *pip*) echo "$*" >>.venv/pip;; esac')
    assert run(clone, "install", {}, "demo").returncode == 0
    assert (clone / ".venv" / "pip").read_text().splitlines()[-1] == "-m pip install -qq -e .[demo]"


def run(clone: Path, script: str, programs: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    for name, body in programs.items():
        program(clone / "bin" / name, body)
    return subprocess.run(
        [clone / "scripts" / script, *arguments],
        env={"PATH": str(clone / "bin"), "HOME": str(clone)},
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def program(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    path.chmod(0o755)
