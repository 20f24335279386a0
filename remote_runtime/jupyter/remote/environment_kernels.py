"""Kernels of the environments that were found: a kernel.json for each, in the server's own data folder.

Each runs ``run_kernel.py`` with the server's Python, which activates the environment and becomes its kernel.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

from . import server, server_client
from .activation import find_activation
from .data_dir import load_json, make_private_dir, write_private
from .environments import FoundEnvironments, KernelEnvironment
from .kernelspec import DATA, NAME, data_dirs

PROGRAM = "run_kernel.py"
ACTIVATION = "activation.json"
MAX_NAME_CHARS = 60
MAX_INSTALLED = 100
HIDDEN = "Jupyter does not list it: KernelSpecManager.allowed_kernelspecs or kernel_spec_manager_class may hide it"
RESERVED_NAMES = (NAME, "python", "python2")


class OfferedKernels(NamedTuple):
    """``kernels``: those that Jupyter lists, as ``server_client.describe_kernelspec`` describes them, and the
    ``environment`` (its prefix and kind) of each, or None. ``problems``: environments without a kernel, with the
    reason."""

    kernels: list[dict[str, Any]]
    problems: list[dict[str, str]]


def offer(
    running: server.ServerProcess, found: FoundEnvironments, env: Mapping[str, str], program: str
) -> OfferedKernels:
    """Makes the environments kernels of the server, and removes those that are gone. An environment that has a kernel
    already gets no second one. ``program``: the source of ``run_kernel.py``. The caller has the server's lock."""
    folder = os.path.join(running.directory, DATA, "kernels")
    default, specs = server_client.read_kernelspecs(running.address, running.token)
    usable = [each for each in found.environments if not each.problem]
    written = _our_names(folder)
    if specs:
        others = {name: spec for name, spec in specs.items() if name not in written}
        others = {**_installed(env, running.directory), **others}
        without = [each for each in usable if not any(_runs_in(each.prefix, spec) for spec in others.values())]
        if _write(running, folder, name_kernels(without, taken=others), env, program):
            default, specs = server_client.read_kernelspecs(running.address, running.token)
    kernels, offered = [], set()
    for described in server_client.describe_kernelspecs(default, specs):
        environment = _environment_of(specs[described["name"]], os.path.join(folder, described["name"]), found)
        kernels.append({**described, "environment": environment and _description(environment)})
        offered.add(environment and environment.prefix)
    problems = [
        _problem(each, each.problem or HIDDEN)
        for each in found.environments
        if each.problem or (specs and each.prefix not in offered)
    ]
    return OfferedKernels(kernels, problems)


def preview(found: FoundEnvironments) -> OfferedKernels:
    """What ``offer`` would do without a server."""
    named = name_kernels([each for each in found.environments if not each.problem], taken={})
    kernels = [
        {"name": name, "display_name": display_name(each, named), "language": "python", "program": each.python,
         "environment": _description(each)}
        for name, each in named.items()
    ]  # fmt: skip
    return OfferedKernels(kernels, [_problem(each, each.problem) for each in found.environments if each.problem])


def name_kernels(environments: list[KernelEnvironment], taken: Iterable[str]) -> dict[str, KernelEnvironment]:
    """A unique name for each, which Jupyter accepts: ``[a-z0-9._-]+``, not that of another kernel. Environments with
    the same name get a part of their path's hash."""
    count = Counter(_plain_name(each.name) for each in environments)
    reserved = {*RESERVED_NAMES, *map(str.lower, taken)}
    named = {}
    for each in environments:
        plain = _plain_name(each.name)
        is_free = plain and count[plain] == 1 and plain not in reserved
        named[plain if is_free else f"{plain or 'env'}-{_digest(each.prefix)}"] = each
    return named


def display_name(environment: KernelEnvironment, names: Collection[str]) -> str:
    """``Python (NAME)``; with the path if several have this name."""
    is_unique = _plain_name(environment.name) in names
    return f"Python ({environment.name if is_unique else environment.name + ', ' + environment.prefix})"


def is_run_by(prefix: str, argv: list[str]) -> bool:
    """Whether a kernel's command runs the environment's Python, or names the environment."""
    programs = os.path.join(prefix, "bin") + os.sep
    real = os.path.realpath(programs)
    return any(each == prefix or each.startswith(programs) for each in argv) or (
        bool(argv) and os.path.isabs(argv[0]) and os.path.realpath(os.path.dirname(argv[0])) == real
    )


def _environment_of(spec: Mapping[str, Any], folder: str, found: FoundEnvironments) -> KernelEnvironment | None:
    prefix = load_json(os.path.join(folder, ACTIVATION)).get("prefix")
    mine = (each for each in found.environments if each.prefix == prefix)
    others = (each for each in found.environments if _runs_in(each.prefix, spec))
    return next(mine, None) or next(others, None)


def _runs_in(prefix: str, spec: Mapping[str, Any]) -> bool:
    argv, metadata = spec.get("argv"), spec.get("metadata")
    words = [str(each) for each in argv] if isinstance(argv, list) else []
    programs = metadata.get("remote_runtime_programs") if isinstance(metadata, dict) else None
    return is_run_by(prefix, words) or programs == os.path.join(prefix, "bin")


def _installed(env: Mapping[str, str], directory: str) -> dict[str, dict[str, Any]]:
    """The user's kernels, also those that a kernel of this module with the same name would hide."""
    found: dict[str, dict[str, Any]] = {}
    for data in data_dirs(env):
        folder = os.path.join(data, "kernels")
        if data != os.path.join(directory, DATA) and os.path.isdir(folder):
            for name in os.listdir(folder)[:MAX_INSTALLED]:
                found.setdefault(name.lower(), load_json(os.path.join(folder, name, "kernel.json")))
    return {name: spec for name, spec in found.items() if spec and name != NAME}


def _write(
    running: server.ServerProcess,
    folder: str,
    wanted: Mapping[str, KernelEnvironment],
    env: Mapping[str, str],
    program: str,
) -> bool:
    """Whether a kernel was added, changed or removed."""
    changed = False
    for name in _our_names(folder) - set(wanted):
        shutil.rmtree(os.path.join(folder, name), ignore_errors=True)
        changed = True
    runner = os.path.join(running.directory, PROGRAM)
    if wanted:
        write_private(runner, program)
    for name, environment in wanted.items():
        files = _kernel_files(running, os.path.join(folder, name), runner, environment, wanted, env)
        if any(load_json(path) != content for path, content in files.items()):
            make_private_dir(os.path.join(folder, name))
            for path, content in files.items():
                write_private(path, json.dumps(content))
            changed = True
    return changed


def _kernel_files(
    running: server.ServerProcess,
    folder: str,
    runner: str,
    environment: KernelEnvironment,
    names: Collection[str],
    env: Mapping[str, str],
) -> dict[str, dict[str, Any]]:
    """Path → content. ``kernel.json`` comes last: with it the kernel exists."""
    how = find_activation(environment.kind, environment.prefix, environment.project, env)
    settings = os.path.join(folder, ACTIVATION)
    kernel = {
        "argv": [running.info["interpreter"], "-E", "-s", "-S", runner, settings, "{connection_file}"],
        "display_name": display_name(environment, names), "language": "python",
        # A debugger listens on a TCP port, whatever the kernel's transport is.
        "metadata": {"debugger": False, "remote_runtime_environment": environment.prefix},
    }  # fmt: skip
    activation = {
        "prefix": environment.prefix, "python": environment.python, "script": how.script,
        "arguments": [environment.prefix, how.tool, how.project, how.name],
        "added_path": running.info.get("added_path", ""),
    }  # fmt: skip
    return {settings: activation, os.path.join(folder, "kernel.json"): kernel}


def _our_names(folder: str) -> set[str]:
    names = os.listdir(folder) if os.path.isdir(folder) else []
    return {name for name in names if os.path.exists(os.path.join(folder, name, ACTIVATION))}


def _plain_name(name: str) -> str:
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub("[^a-z0-9._-]+", "-", ascii_name.lower()).strip("-.")[:MAX_NAME_CHARS]


def _digest(prefix: str) -> str:
    return hashlib.sha256(os.fsencode(prefix)).hexdigest()[:6]


def _description(environment: KernelEnvironment) -> dict[str, str]:
    return {"kind": environment.kind, "path": environment.prefix, "python": environment.python_version}


def _problem(environment: KernelEnvironment, why: str) -> dict[str, str]:
    return {**_description(environment), "why": why, "fix": environment.fix}
