"""The kernel ``python3``, which Colab asks for: a kernel.json here names the Python that was chosen.

Jupyter takes the first ``kernels/python3`` on its search path (jupyter_core's ``jupyter_path``): ``JUPYTER_PATH``, the
user's data folder, the environment, the system. An installed kernel.json may name an environment that is gone.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping

from .data_dir import load_json, make_private_dir, write_private
from .interpreters import Interpreter

NAME = "python3"
DATA = "data"


def write_kernelspec(directory: str, python: Interpreter, *, is_borrowed: bool) -> None:
    """In the server's directory, which comes first on this server's search path. ``is_borrowed``: ``python`` is not the
    server's own."""
    name = f"Python 3 ({', '.join(python.frameworks) if is_borrowed else 'ipykernel'})"
    kernel = {
        "argv": [python.path, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": name, "language": "python",
        # A debugger listens on a TCP port, whatever the kernel's transport is.
        "metadata": {"debugger": False, "remote_runtime_programs": python.bin_dir},
    }  # fmt: skip
    folder = make_private_dir(os.path.join(directory, DATA, "kernels", NAME))
    write_private(os.path.join(folder, "kernel.json"), json.dumps(kernel))


def with_data_path(directory: str, env: Mapping[str, str]) -> dict[str, str]:
    """``env`` with the server's data folder first on Jupyter's search path."""
    path = [os.path.join(directory, DATA), env.get("JUPYTER_PATH", "")]
    return {**env, "JUPYTER_PATH": os.pathsep.join(filter(None, path))}


def overridden_notes(env: Mapping[str, str], python: Interpreter) -> list[str]:
    """A note if the user's own kernel.json for ``python3`` names another Python."""
    path, program = find_installed(env, NAME)
    same = os.path.realpath(os.path.dirname(program)) in {
        os.path.realpath(folder) for folder in (python.bin_dir, os.path.dirname(python.path))
    }
    if not os.path.isabs(program) or same:
        return []
    if not os.access(program, os.X_OK):
        return [f"{path} names {program}, which does not exist. Here the kernel {NAME} runs {python.path}"]
    return [
        f"{path} names {program}. Here the kernel {NAME} runs {python.path}. `jupyter.python: {program}` uses that one"
    ]


def find_installed(env: Mapping[str, str], name: str) -> tuple[str, str]:
    """The first kernel.json of this name outside environments, and its program; both empty when there is none."""
    for folder in data_dirs(env):
        path = os.path.join(folder, "kernels", name, "kernel.json")
        argv = load_json(path).get("argv")
        if isinstance(argv, list) and argv and isinstance(argv[0], str):
            return path, argv[0]
    return "", ""


def data_dirs(env: Mapping[str, str]) -> list[str]:
    """``JUPYTER_PATH`` and the user's data folder."""
    return [*filter(None, env.get("JUPYTER_PATH", "").split(os.pathsep)), user_data_dir(env)]


def user_data_dir(env: Mapping[str, str]) -> str:
    """Source: jupyter_core's ``jupyter_data_dir``."""
    home = env.get("HOME") or os.path.expanduser("~")
    if env.get("JUPYTER_DATA_DIR"):
        return env["JUPYTER_DATA_DIR"]
    if os.name == "nt":
        return os.path.join(env.get("APPDATA", home), "jupyter")
    if sys.platform == "darwin":
        return os.path.join(home, "Library", "Jupyter")
    return os.path.join(env.get("XDG_DATA_HOME") or os.path.join(home, ".local", "share"), "jupyter")
