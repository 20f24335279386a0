"""Paths on this machine at which a Python with Jupyter may be; not yet probed."""

from __future__ import annotations

import glob
import os
import re
import shutil
import sys
from collections.abc import Iterable, Mapping

from . import processes
from .data_dir import root_dir

MAX_CANDIDATES = 16
MAX_ENVIRONMENTS = 24
# pipx and uv put only an application's own commands on the PATH.
COMMANDS = ("jupyter", "jupyter-lab", "jupyter-server", "jupyter-notebook")
PACKAGES = ("jupyter_server", "notebook", "ipykernel", "torch", "tensorflow", "jax")
CONDA_FOLDERS = ("miniconda3", "anaconda3", "miniforge3", "mambaforge")


def find_candidates(env: Mapping[str, str]) -> list[str]:
    """Paths of Pythons, one per environment, at most ``MAX_CANDIDATES``. ``env``: a login's, whose PATH comes first:
    that of an SSH exec channel is often shorter."""
    paths: list[str] = []
    for search in (env.get("PATH", os.defpath), os.environ.get("PATH", os.defpath)):
        paths += [_script_interpreter(script) for script in _which_all("jupyter", search)]
        paths += [found for name in ("python3", "python") for found in [shutil.which(name, path=search)] if found]
        paths += [_script_interpreter(script) for name in COMMANDS[1:] for script in _which_all(name, search)]
    paths += [_script_interpreter(part) for part in unit_programs()]
    prefixes = ["/opt/conda/envs/jupyterlab4", "/opt/conda/envs/jupyterlab", "/opt/conda"]
    prefixes += ["/opt/micromamba/envs/jupyterlab"]
    prefixes += [os.path.join(os.path.expanduser("~"), name) for name in CONDA_FOLDERS]
    paths += [os.path.join(prefix, "bin", "python") for prefix in prefixes]
    paths += [sys.executable, "/usr/bin/python3", private_python()]
    return _unique(paths)[:MAX_CANDIDATES]


def find_environments(env: Mapping[str, str], known: Iterable[str]) -> list[str]:
    """Further environments of conda, pipx, uv, pyenv and virtualenvwrapper that have Jupyter or a framework, at most
    ``MAX_ENVIRONMENTS``. They need not be on the PATH."""
    home = os.path.expanduser("~")
    prefixes = _absolute_paths(os.path.join(home, ".conda", "environments.txt"))
    folders = [os.path.join(root, "envs") for root in conda_roots(env)]
    share = env.get("XDG_DATA_HOME") or os.path.join(home, ".local", "share")
    folders += [os.path.join(share, "pipx", "venvs"), os.path.join(home, ".local", "pipx", "venvs")]
    folders += [os.path.join(env["PIPX_HOME"], "venvs")] if env.get("PIPX_HOME") else []
    folders += [env.get("UV_TOOL_DIR") or os.path.join(share, "uv", "tools")]
    folders += [env.get("WORKON_HOME") or os.path.join(home, ".virtualenvs"), os.path.join(home, ".pyenv", "versions")]
    for folder in folders:
        prefixes += sorted(glob.glob(os.path.join(glob.escape(folder), "*")))
    seen = {os.path.realpath(os.path.dirname(path)) for path in known}
    paths = _unique(os.path.join(prefix, "bin", "python") for prefix in prefixes if _has_packages(prefix))
    return [path for path in paths if os.path.realpath(os.path.dirname(path)) not in seen][:MAX_ENVIRONMENTS]


def conda_roots(env: Mapping[str, str]) -> list[str]:
    """Where conda, mamba or micromamba may be installed, or keep their environments."""
    home = os.path.expanduser("~")
    roots = [os.path.join(home, name) for name in CONDA_FOLDERS]
    roots += [os.path.join("/opt", name) for name in ("conda", "micromamba", *CONDA_FOLDERS)]
    roots += [os.path.join(home, name) for name in ("micromamba", ".conda", ".local/share/mamba")]
    roots += [env[name] for name in ("CONDA_PREFIX", "MAMBA_ROOT_PREFIX") if env.get(name)]
    if env.get("CONDA_EXE"):
        roots.append(os.path.dirname(os.path.dirname(env["CONDA_EXE"])))
    return roots


def private_python() -> str:
    """The path of the private environment's Python, whether it exists or not."""
    folder = ("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")
    return os.path.join(root_dir(), "venv", *folder)


def unit_programs() -> list[str]:
    """The programs of a Deep Learning VM's ``jupyter.service``; systemctl(1) prints ``{ path=… ; argv[]=… ; …}``."""
    output = processes.output_of("systemctl", "show", "-p", "ExecStart", "--value", "jupyter", timeout_s=5.0)
    words = re.split(r"[\s;={}'\"]+", output)
    return [word for word in words if re.match(r"/.*/(jupyter|python)[^/]*$", word)]


def _unique(paths: Iterable[str]) -> list[str]:
    unique: dict[str, str] = {}
    for path in paths:
        if path and os.access(path, os.X_OK) and not os.path.isdir(path):
            # By folder: the links in several environments often point to the same binary.
            unique.setdefault(os.path.realpath(os.path.dirname(path)), path)
    return list(unique.values())


def _which_all(name: str, search: str) -> list[str]:
    """Every program of this name on the PATH, not only the first."""
    found = (shutil.which(name, path=folder) for folder in search.split(os.pathsep) if folder)
    return [path for path in found if path]


def _has_packages(prefix: str) -> bool:
    """By its files: running every environment's Python would take too long."""
    inside = os.path.join(glob.escape(prefix), "lib", "python3*", "site-packages")
    return any(glob.glob(os.path.join(inside, name)) for name in PACKAGES)


def _absolute_paths(path: str) -> list[str]:
    lines = processes.read_text(path, errors="surrogateescape").splitlines()
    return [line.strip() for line in lines if os.path.isabs(line.strip())]


def _script_interpreter(script: str) -> str:
    """The Python of a script such as ``jupyter``: from its first line, else the one in its folder."""
    if os.path.basename(script).startswith("python"):
        return script
    head = processes.read_text(script, 1024)
    if not head:
        return ""
    # Long paths are written as a shell script: '''exec' "/very/long/path/bin/python" "$0" "$@"
    matched = re.match(r"#!\s*(/\S*/python[\d.]*)\s", head) or re.search(r"exec' \"?(/[^\"\n]*/python[\d.]*)\"? ", head)
    return matched.group(1) if matched else os.path.join(os.path.dirname(os.path.realpath(script)), "python")
