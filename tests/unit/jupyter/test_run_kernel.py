"""The variables of a kernel are those that its environment's own activation leaves in a shell."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from remote_runtime.jupyter.remote import run_kernel
from remote_runtime.jupyter.remote.activation import CONDA, OWN_SCRIPT, SCRIPTS_ONLY, find_activation
from tests.support.environment.processes import commands_of
from tests.support.machines.dl_vm import script
from tests.support.machines.environments import (
    HOOK,
    activated_in_a_shell,
    add_packed_activation,
    comparable,
    make_conda,
    make_venv,
)

LOGIN = {
    "PATH": "/usr/bin:/bin", "HOME": "/nowhere", "LANG": "C.UTF-8", "LD_LIBRARY_PATH": "/login/lib",
    "FROM_THE_LOGIN": "1", "VIRTUAL_ENV": "/another", "MULTILINE": "first\nsecond = '", "SHLVL": "3",
}  # fmt: skip


def run(prefix: Path, env: dict[str, str], **settings: object) -> tuple[dict[str, str], str]:
    """The kernel's variables, and what is in the server's log."""
    how = find_activation("venv" if (prefix / "pyvenv.cfg").exists() else "conda", str(prefix), "", env)
    content = {
        "prefix": str(prefix), "python": str(prefix / "bin" / "python"), "script": how.script, "added_path": "",
        "arguments": [str(prefix), how.tool, how.project, how.name], **settings,
    }  # fmt: skip
    file, connection = prefix / "activation.json", prefix / "connection.json"
    file.write_text(json.dumps(content))
    command = [sys.executable, "-E", "-s", "-S", run_kernel.__file__, str(file), str(connection)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    variables: dict[str, str] = json.loads(connection.read_text())
    return comparable(variables), done.stderr


@pytest.mark.parametrize("name", ["with space", "ünïcode"])
def test_a_venv_is_activated_as_its_own_script_does_it(tmp_path: Path, name: str) -> None:
    prefix = make_venv(tmp_path / name, "printing")
    found, log = run(prefix, LOGIN)
    assert found == activated_in_a_shell(prefix, LOGIN)
    assert (found["VIRTUAL_ENV"], found["PATH"]) == (str(prefix), f"{prefix}/bin:/usr/bin:/bin")
    assert log == ""


def test_a_name_that_old_venvs_quote_wrongly_gets_a_kernel(tmp_path: Path) -> None:
    """Python's own script ran such names as commands before CVE-2024-9287 was fixed."""
    prefix = make_venv(tmp_path / "quote'\"$HOME`id`", "printing")
    found, _ = run(prefix, LOGIN)
    assert (found["VIRTUAL_ENV"], found["PATH"]) == (str(prefix), f"{prefix}/bin:/usr/bin:/bin")


def test_an_environment_of_uv_is_activated_as_its_own_script_does_it(tmp_path: Path) -> None:
    prefix = make_venv(tmp_path / ".venv", "printing", by="uv")
    assert run(prefix, LOGIN) == (activated_in_a_shell(prefix, LOGIN), "")


def test_a_packed_conda_environment_is_activated_as_its_own_script_does_it(tmp_path: Path) -> None:
    prefix = make_conda(tmp_path / "torch", "printing")
    add_packed_activation(prefix)
    found, log = run(prefix, LOGIN)
    assert found == activated_in_a_shell(prefix, LOGIN)
    assert found["LD_LIBRARY_PATH"] == f"{prefix}/lib/cuda:/login/lib"
    assert found["CUDA_NOTE"] == "a 'quoted'\nvalue"
    assert "FROM_THE_LOGIN" not in found
    assert log == "a script that prints\nand complains\n", "what scripts print is in the server's log"


def test_conda_itself_is_used_where_it_is_found(tmp_path: Path) -> None:
    """Its shell function is a stand-in: no package index of the tests has conda."""
    root = tmp_path / "miniforge3"
    script = root / "etc" / "profile.d" / "conda.sh"
    script.parent.mkdir(parents=True)
    script.write_text(
        'conda() { export CONDA_SHLVL=1 CONDA_PREFIX="$2" PATH="$2/bin:$PATH"; . "$2/etc/conda/activate.d/cuda.sh"; }\n'
    )
    prefix = make_conda(root / "envs" / "torch", "printing")
    how = find_activation("conda", str(prefix), "", LOGIN)
    assert (how.script, how.tool, how.program) == (CONDA, str(script), "conda")
    found, _ = run(prefix, LOGIN)
    assert found == activated_in_a_shell(prefix, LOGIN, f'. "{script}"; conda activate "$1"')
    assert found["CONDA_SHLVL"] == "1"


def test_micromamba_is_used_where_it_is_found(tmp_path: Path) -> None:
    """A stand-in that prints a function, as the real one does."""
    programs = tmp_path / "bin"
    body = 'micromamba() { export MADE_BY="$MAMBA_ROOT_PREFIX" CONDA_PREFIX="$2" PATH="$2/bin:$PATH"; }'
    script(programs / "micromamba", f"[ \"$1 $2 $3 $4\" = 'shell hook --shell bash' ] && echo '{body}'")
    prefix = make_conda(tmp_path / "root" / "envs" / "torch", "printing")
    found, _ = run(prefix, {**LOGIN, "PATH": f"{programs}:/usr/bin:/bin"})
    assert (found["MADE_BY"], found["CONDA_PREFIX"]) == (str(tmp_path / "root"), str(prefix))


def test_without_conda_the_scripts_of_the_packages_run(tmp_path: Path) -> None:
    prefix = make_conda(tmp_path / "torch", "printing")
    assert find_activation("conda", str(prefix), "", {**LOGIN, "HOME": str(tmp_path)}).script == SCRIPTS_ONLY
    found, _ = run(prefix, LOGIN)
    assert (found["CONDA_PREFIX"], found["CONDA_DEFAULT_ENV"]) == (str(prefix), "torch")
    assert found["PATH"].startswith(f"{prefix}/bin:")
    assert found["LD_LIBRARY_PATH"] == f"{prefix}/lib/cuda:/login/lib"


@pytest.mark.parametrize(
    ("hook", "why"),
    [
        ("exit 3\n", "its shell ended with status 3"),
        ("sleep 300 & sleep 300\n", "it did not end in time"),
        ("unset CONDA_PREFIX\n", "CONDA_PREFIX is not set afterwards"),
    ],
)
def test_a_kernel_starts_without_an_activation_that_fails_and_the_log_says_why(
    tmp_path: Path, hook: str, why: str
) -> None:
    prefix = make_conda(tmp_path / "torch", "printing", hook)
    found, log = run(prefix, LOGIN, within_s=2.0)
    assert f"{prefix} was not activated: {why}" in log
    assert found == comparable({**LOGIN, "CONDA_PREFIX": str(prefix), "PATH": f"{prefix}/bin:/usr/bin:/bin"})
    assert commands_of(tmp_path) == {}


def test_a_background_process_of_a_script_does_not_keep_a_kernel_waiting(tmp_path: Path) -> None:
    prefix = make_conda(tmp_path / "torch", "printing", HOOK + "sleep 5 >/dev/null 2>&1 &\n")
    begun = time.monotonic()
    found, log = run(prefix, LOGIN, within_s=30.0)
    assert "not activated" not in log
    assert found["CONDA_PREFIX"] == str(prefix)
    assert time.monotonic() - begun < 5


def test_the_folder_that_the_server_put_on_its_path_is_not_on_the_kernels(tmp_path: Path) -> None:
    prefix = make_venv(tmp_path / "v", "printing")
    env = {**LOGIN, "PATH": "/server/bin:/usr/bin:/bin:/server/bin"}
    assert run(prefix, env, added_path="/server/bin")[0]["PATH"] == f"{prefix}/bin:/usr/bin:/bin:/server/bin"


def test_a_login_with_another_environment_is_no_obstacle(tmp_path: Path) -> None:
    other, prefix = make_conda(tmp_path / "base", "printing"), make_conda(tmp_path / "torch", "printing")
    add_packed_activation(prefix)
    env = {**LOGIN, "CONDA_PREFIX": str(other), "PATH": f"{other}/bin:/usr/bin:/bin"}
    found, _ = run(prefix, env)
    assert found == activated_in_a_shell(prefix, env)
    assert found["CONDA_PREFIX"] == str(prefix)


def test_each_kind_has_its_own_way(tmp_path: Path) -> None:
    assert find_activation("uv", "/p", "", {}).script == OWN_SCRIPT
    pixi = tmp_path / "pixi"
    script(pixi, "")
    how = find_activation("pixi", "/w/.pixi/envs/gpu", "/w/pixi.toml", {"PATH": str(tmp_path)})
    assert (how.tool, how.project, how.name, how.program) == (str(pixi), "/w/pixi.toml", "gpu", "pixi")
    assert "--frozen --no-install" in how.script, "the activation installs nothing"
