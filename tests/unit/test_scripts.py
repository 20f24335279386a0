"""What the scripts say on a computer that lacks what they need."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from scripts.benchmarks import __main__ as bench
from scripts.soaks import __main__ as soak

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted(path.name for path in (ROOT / "scripts").iterdir() if path.is_file())
IN_PYTHON = ("readme",)
TOOLS = ("cat", "cksum", "dirname", "id", "sed", "sh")
TOO_OLD = "exit 1"
NO_ENSUREPIP = 'case "$2" in *ensurepip*) exit 1;; *-venv*) echo python3.12-venv;; esac'


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    for name in ("setup.cfg", "setup.py", "pyproject.toml"):
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
    assert done.stderr.splitlines()[1].startswith("error: Python 3.10 or newer is not on PATH")
    assert done.stdout == ""


def test_a_python_without_venv_is_named_with_the_package_it_lacks(clone: Path) -> None:
    done = run(clone, "quickstart", {"python3": TOO_OLD, "python3.12": NO_ENSUREPIP})
    assert done.returncode != 0
    assert done.stderr.splitlines() == [
        "Step 1 of 2: installing remote-runtime into .venv",
        "error: python3.12 can't make virtual environments: its package python3.12-venv is missing",
        "fix: apt-get install python3.12-venv",
    ]


@pytest.mark.parametrize(
    ("arguments", "options"),
    [((), "--compile-bytecode -C editable_mode=compat -e ."), (("dev",), "-C editable_mode=compat -e . --group dev")],
    ids=["users", "dev"],
)
def test_what_is_installed_already_is_not_installed_again(
    clone: Path, arguments: tuple[str, ...], options: str
) -> None:
    venv_python(clone, 'case "$*" in *pip*) echo "$*" >>.venv/pip;; esac')
    for _ in range(2):
        assert run(clone, "install", {}, *arguments).returncode == 0
    assert pip_calls(clone) == ["-m pip install -qq uv", f"-m uv pip install -q {options}"]


def test_where_uv_cannot_install_pip_does(clone: Path) -> None:
    venv_python(clone, 'case "$*" in *"uv pip"*) exit 1;; *pip*) echo "$*" >>.venv/pip;; esac')
    assert run(clone, "install", {}, "dev").returncode == 0
    assert pip_calls(clone)[-2:] == [
        "-m pip install -qq pip>=25.1",
        "-m pip install -qq --config-settings editable_mode=compat -e . --group dev",
    ]


def test_the_installation_says_how_large_it_is_and_how_long_it_takes(clone: Path) -> None:
    venv_python(clone, "")
    assert run(clone, "install", {}).stderr == "Installing remote-runtime into .venv (100 MB, less than a minute)\n"


@pytest.mark.parametrize("option", ["-h", "--help"])
@pytest.mark.parametrize("script", SCRIPTS)
def test_help_is_printed_and_nothing_else_is_done(clone: Path, script: str, option: str) -> None:
    before = {*clone.rglob("*")}
    programs = {"python3": f'exec {shlex.quote(sys.executable)} -S "$@"'} if script in IN_PYTHON else {}
    (clone / "bin" / "env").symlink_to("/usr/bin/env")
    done = run(clone, script, programs, option)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") > 1
    assert not done.stdout.startswith(("#", "\n"))
    made = {path.relative_to(clone).as_posix() for path in {*clone.rglob("*")} - before}
    assert made == {"bin/env", *(f"bin/{name}" for name in programs)}


@pytest.mark.parametrize("script", ["quickstart", "check", "fix", "install"])
def test_an_unknown_argument_is_refused_before_anything_is_done(clone: Path, script: str) -> None:
    done = run(clone, script, {}, "everything")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"usage: scripts/{script}")


@pytest.mark.parametrize("script", ["bench", "soak"])
def test_the_help_lists_every_name(script: str) -> None:
    names = (bench if script == "bench" else soak).NAMES
    text = (ROOT / "scripts" / script).read_text(encoding="utf-8")
    listed = re.findall(rf"^#   scripts/{script} ([a-z-]+) ", text, re.MULTILINE)
    assert sorted(listed) == sorted(names)


@pytest.mark.parametrize("script", ["bench", "soak"])
def test_help_for_one_name_installs_nothing(clone: Path, script: str) -> None:
    done = run(clone, script, {"python3": "exit 1"}, "any-name", "--help")
    assert done.returncode == 0
    assert done.stderr == "The options of any-name are shown once `scripts/install dev` has run\n"
    assert f"scripts/{script} NAME --help" in done.stdout


def venv_python(clone: Path, body: str) -> None:
    where = clone / ".venv" / "bin"
    where.mkdir(parents=True)
    program(where / "python", body)


def pip_calls(clone: Path) -> list[str]:
    lines = (clone / ".venv" / "pip").read_text().splitlines()
    return [line for line in lines if "install" in line]


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
