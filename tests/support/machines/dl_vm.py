"""Deep Learning VMs of each generation: real interpreters in the places where those images have them.

A connection's sshd runs in a mount namespace of its own whose ``/opt`` is ours, so that the launcher finds
``/opt/conda`` and the like without knowing that it is looked at. The interpreters are real, their Jupyter is that of
the tests' environment, their frameworks are empty packages.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..environment.mounts import within_mount
from ..servers.sshd import Sshd, running_sshd

SERVERS = ("jupyter_server", "jupyter-server", "notebook", "jupyterlab")


@dataclass(frozen=True)
class Environment:
    """A Python at ``prefix``. ``server``: it has a Jupyter server; without one it has ipykernel, if ``kernel``."""

    prefix: str
    server: bool = True
    kernel: bool = True
    frameworks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Image:
    """``login_path``: what login files put first on PATH. ``unit``: the command of its own jupyter.service."""

    environments: tuple[Environment, ...] = ()
    login_path: str = ""
    unit: str = ""


@contextmanager
def deep_learning_vm(directory: Path, image: Image) -> Iterator[Sshd]:
    """An SSH server on such a machine; ``asked_of_systemd`` tells what was asked of its systemctl."""
    opt = directory / "opt"
    programs = opt / "programs"
    programs.mkdir(parents=True)
    for environment in image.environments:
        make(environment, opt)
    answer = (
        f"{{ path={image.unit.split()[0]} ; argv[]={image.unit} ; ignore_errors=no ; pid=812 }}" if image.unit else ""
    )
    script(programs / "systemctl", f'echo "$@" >> /opt/programs/asked\necho "{answer}"')
    path = "/opt/programs:/usr/bin:/bin"
    within = within_mount(f'--bind "{opt}" /opt')
    with running_sshd(directory, config=[f"SetEnv HOME={directory}/home PATH={path}"], within=within) as sshd:
        (sshd.home / ".profile").write_text(f"export PATH='{':'.join(filter(None, [image.login_path, path]))}'\n")
        yield sshd


def asked_of_systemd(sshd: Sshd) -> list[str]:
    asked = sshd.home.parent / "opt" / "programs" / "asked"
    return asked.read_text().splitlines() if asked.exists() else []


def make(environment: Environment, opt: Path) -> None:
    prefix = opt / environment.prefix.removeprefix("/opt/")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(prefix)], check=True)
    site = prefix / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    real = Path(sysconfig.get_paths()["purelib"])
    if environment.server:
        (site / "real.pth").write_text(f"{real}\n")
        script(prefix / "bin" / "jupyter", "", interpreter=f"{environment.prefix}/bin/python3")
    elif environment.kernel:
        for each in real.iterdir():
            if not each.name.startswith((*SERVERS, "__editable__", "_")):
                (site / each.name).symlink_to(each)
    for framework in environment.frameworks:
        (site / framework).mkdir()
        (site / framework / "__init__.py").write_text("HERE = True\n")


def script(path: Path, body: str, interpreter: str = "/bin/sh") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!{interpreter}\n{body}\n")
    path.chmod(0o755)
