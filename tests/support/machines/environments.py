"""Environments as people have them on a machine: real interpreters, and the packages of the tests' own environment."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

SITE = Path("lib") / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
SERVERS = ("jupyter_server", "jupyter-server", "notebook", "jupyterlab", "__editable__", "_")
HOOK = """echo "a script that prints"; echo "and complains" >&2
export LD_LIBRARY_PATH="$CONDA_PREFIX/lib/cuda${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" CUDA_NOTE="a 'quoted'
value"
unset FROM_THE_LOGIN
"""
# A kernel that writes its variables into the connection file, and ends.
PRINTING_KERNEL = "import json, os, sys; json.dump(dict(os.environ), open(sys.argv[2], 'w'))\n"


def make_venv(prefix: Path, kernel: str = "real", by: str = "venv") -> Path:
    """``kernel``: ``real``, ``printing``, or empty for none. ``by``: ``venv``, or ``uv``."""
    command = [sys.executable, "-m", "venv", "--without-pip"] if by == "venv" else [uv(), "venv", "-q", "--python"]
    subprocess.run([*command, *([sys.executable] if by == "uv" else []), str(prefix)], check=True)
    return add_kernel(prefix, kernel)


def make_conda(prefix: Path, kernel: str = "real", hook: str = HOOK) -> Path:
    """In conda's format: a Python whose prefix this is, ``conda-meta``, and a package's script in ``activate.d``."""
    base, name = Path(sys.base_prefix), SITE.parts[1]
    (prefix / SITE).mkdir(parents=True)
    for each in (base / "lib" / name).iterdir():
        if each.name != "site-packages":
            (prefix / "lib" / name / each.name).symlink_to(each)
    for library in (base / "lib").glob("libpython*"):
        (prefix / "lib" / library.name).symlink_to(library)
    (prefix / "bin").mkdir()
    shutil.copy2(os.path.realpath(sys.executable), prefix / "bin" / name)
    (prefix / "bin" / "python").symlink_to(name)
    (prefix / "conda-meta").mkdir()
    (prefix / "conda-meta" / "history").write_text("==> 2026-01-01 10:00:00 <==\n# cmd: /gone/bin/conda create\n")
    scripts = prefix / "etc" / "conda" / "activate.d"
    scripts.mkdir(parents=True)
    (scripts / "cuda.sh").write_text(hook)
    return add_kernel(prefix, kernel)


def add_packed_activation(prefix: Path) -> None:
    """The script that conda-pack puts into an environment."""
    found = importlib.util.find_spec("conda_pack")
    assert found
    assert found.origin
    shutil.copy(Path(found.origin).parent / "scripts" / "posix" / "activate", prefix / "bin" / "activate")


def add_kernel(prefix: Path, kernel: str) -> Path:
    if kernel == "printing":
        (prefix / SITE / "ipykernel_launcher.py").write_text(PRINTING_KERNEL)
    elif kernel:
        for each in Path(sysconfig.get_paths()["purelib"]).iterdir():
            if not each.name.startswith(SERVERS):
                (prefix / SITE / each.name).symlink_to(each)
    return prefix


def uv() -> str:
    beside = Path(sys.executable).with_name("uv")
    return str(beside) if beside.exists() else shutil.which("uv") or "uv"


def activated_in_a_shell(prefix: Path, env: dict[str, str], activation: str = '. "$1/bin/activate"') -> dict[str, str]:
    """The variables after a person's own activation in bash."""
    program = "import json, os, sys; json.dump(dict(os.environ), open(sys.argv[1], 'w'))"
    written = prefix / "variables.json"
    command = f'{activation}; exec "$2" -c "$3" "$4"'
    subprocess.run(
        ["bash", "--norc", "-c", command, "bash", str(prefix), sys.executable, program, str(written)],
        env=env, check=True, capture_output=True,
    )  # fmt: skip
    found: dict[str, str] = json.loads(written.read_text())
    return comparable(found)


def comparable(env: dict[str, str]) -> dict[str, str]:
    """Without what belongs to one shell."""
    return {name: value for name, value in env.items() if name not in ("_", "SHLVL", "PWD", "OLDPWD")}
