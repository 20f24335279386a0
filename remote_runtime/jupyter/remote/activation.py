"""How an environment is activated: the shell code of its own tool, which ``run_kernel.py`` runs."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from . import processes
from .python_candidates import conda_roots

# $rr_prefix is the environment, $rr_tool the program or file that activates it, $rr_project the file of a project,
# $rr_name the environment's name in it.
OWN_SCRIPT = '. "$rr_tool"'
CONDA = '. "$rr_tool" && conda activate "$rr_prefix"'
# Sources: `micromamba shell hook --help`; `pixi shell-hook --help`, which otherwise would install what is missing.
MAMBA = (
    'export MAMBA_EXE="$rr_tool" MAMBA_ROOT_PREFIX="${MAMBA_ROOT_PREFIX:-$rr_project}"; '
    'case "$BASH_VERSION" in "") rr_shell=posix;; *) rr_shell=bash;; esac; '
    'eval "$("$rr_tool" shell hook --shell "$rr_shell")" && "${rr_tool##*/}" activate "$rr_prefix"'
)
PIXI = (
    'eval "$("$rr_tool" shell-hook --shell bash --frozen --no-install --manifest-path "$rr_project" '
    '--environment "$rr_name")"'
)
# Without conda: what its activation does to PATH and CONDA_*, and the packages' own scripts.
SCRIPTS_ONLY = (
    'export PATH="$rr_prefix/bin:$PATH" CONDA_PREFIX="$rr_prefix" CONDA_DEFAULT_ENV="$rr_name"\n'
    'for rr_script in "$rr_prefix"/etc/conda/activate.d/*.sh; do [ ! -r "$rr_script" ] || . "$rr_script"; done'
)


@dataclass(frozen=True)
class Activation:
    """``script``: shell code; ``tool``, ``project``, ``name``: its variables. ``program``: the tool for people, empty
    if there is none."""

    script: str
    tool: str = ""
    project: str = ""
    name: str = ""
    program: str = ""


def find_activation(kind: str, prefix: str, project: str, env: Mapping[str, str]) -> Activation:
    """``kind``: of ``KernelEnvironment``. ``project``: pixi's manifest."""
    if kind in ("venv", "uv"):
        return Activation(OWN_SCRIPT, os.path.join(prefix, "bin", "activate"))
    name = os.path.basename(prefix)
    if kind == "pixi":
        pixi = _find_program("pixi", env, "~/.pixi/bin")
        return Activation(PIXI, pixi, project, name, "pixi") if pixi else Activation(SCRIPTS_ONLY, name=name)
    own = os.path.join(prefix, "bin", "activate")
    if os.path.isfile(own) and not os.path.exists(os.path.join(prefix, "bin", "conda")):
        return Activation(OWN_SCRIPT, own)  # conda-pack's
    for root in _possible_roots(prefix, env):
        script = os.path.join(root, "etc", "profile.d", "conda.sh")
        if os.path.isfile(script):
            return Activation(CONDA, script, program="conda")
    for program in ("micromamba", "mamba"):
        named = env.get("MAMBA_EXE", "")
        found = named if os.path.basename(named) == program else _find_program(program, env, "~/.local/bin", "~/bin")
        if found and os.access(found, os.X_OK):
            return Activation(MAMBA, found, _envs_root(prefix), program=program)
    return Activation(SCRIPTS_ONLY, name=name)


def _possible_roots(prefix: str, env: Mapping[str, str]) -> Iterator[str]:
    """Where the conda may be that made this environment, the most probable first. Source: conda writes its command line
    to ``conda-meta/history``."""
    yield from filter(None, [prefix, _envs_root(prefix)])
    history = processes.read_text(os.path.join(prefix, "conda-meta", "history"), 4096)
    made_by = re.search(r"^# cmd: (/.*?)/(?:bin|condabin)/(?:conda|mamba)(?:-env)? ", history, re.MULTILINE)
    if made_by:
        yield made_by.group(1)
    yield from conda_roots(env)


def _envs_root(prefix: str) -> str:
    folder = os.path.dirname(prefix)
    return os.path.dirname(folder) if os.path.basename(folder) == "envs" else ""


def _find_program(name: str, env: Mapping[str, str], *folders: str) -> str:
    path = os.pathsep.join([env.get("PATH", ""), *map(os.path.expanduser, folders)])
    return shutil.which(name, path=path) or ""
