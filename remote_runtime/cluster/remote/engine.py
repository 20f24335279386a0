"""The Pythons of this machine that have Dask, and their versions: those of all machines of a cluster must agree."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from ...jupyter.remote import processes
from ...jupyter.remote.python_candidates import find_candidates, find_environments
from ...launcher.remote.reply import ReportedError

PACKAGES = ("distributed", "cloudpickle")
PROBE = f"""
import json, sys
from importlib.metadata import PackageNotFoundError, version
found = {{"python": "%d.%d" % sys.version_info[:2]}}
for name in {PACKAGES!r}:
    try:
        found[name] = version(name)
    except PackageNotFoundError:
        found[name] = ""
print(json.dumps(found))
"""


def versions(python: str, env: Mapping[str, str]) -> dict[str, str]:
    """``python`` (major and minor) and the packages, empty for one that is missing. Empty if the Python does not
    run."""
    done = processes.try_run(python, "-c", PROBE, timeout_s=20.0, env=dict(env))
    try:
        found = json.loads(done.stdout) if done is not None else {}
    except ValueError:
        return {}
    return {str(name): str(value) for name, value in found.items()}


def require(python: str, env: Mapping[str, str]) -> dict[str, str]:
    """The versions of the Python that runs the kernels. Raises ``ReportedError`` ``cluster-engine-missing``."""
    found = versions(python, env)
    if not found.get("distributed"):
        raise missing_error(python, "distributed")
    return found


def choose(python: str, env: Mapping[str, str], wanted: Mapping[str, str]) -> str:
    """The Python that runs the worker: ``python``, or with ``auto`` the first that has the versions ``wanted``. Raises
    ``ReportedError``: ``cluster-engine-missing``, ``cluster-version-mismatch``."""
    candidates = [os.path.expanduser(python)] if python != "auto" else find_candidates(env)
    found = {each: versions(each, env) for each in candidates}
    if python == "auto" and not any(agree(each, wanted) for each in found.values()):
        found.update({each: versions(each, env) for each in find_environments(env, candidates)})
    for path, each in found.items():
        if agree(each, wanted):
            return path
    others = [path for path, each in found.items() if each.get("distributed")]
    if others:
        raise mismatch_error(others[0], found[others[0]], wanted)
    same_python = [path for path, each in found.items() if each.get("python") == wanted["python"]]
    best = (same_python or candidates or ["python3"])[0]
    raise missing_error(best, install_words(wanted))


def agree(found: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    return all(found.get(name) == wanted[name] for name in ("python", *PACKAGES))


def install_words(wanted: Mapping[str, str]) -> str:
    return " ".join(f"{name}=={wanted[name]}" for name in PACKAGES)


def missing_error(python: str, packages: str) -> ReportedError:
    return ReportedError(
        "cluster-engine-missing", "Dask is not installed in the Python that runs it", python,
        f"Run `{python} -m pip install {packages}` there",
    )  # fmt: skip


def mismatch_error(python: str, found: Mapping[str, str], wanted: Mapping[str, str]) -> ReportedError:
    def words(each: Mapping[str, str]) -> str:
        return ", ".join(f"{name} {each.get(name) or 'missing'}" for name in ("python", *PACKAGES))

    hint = f"Run `{python} -m pip install {install_words(wanted)}` there"
    if found.get("python") != wanted["python"]:
        hint = f"Set `jupyter.python` in the worker's profile to a Python {wanted['python']}"
    why = f"{python} has {words(found)}; the scheduler has {words(wanted)}"
    return ReportedError("cluster-version-mismatch", "The worker's versions are not the scheduler's", why, hint)


def kernel_python(server_directory: str) -> str:
    """The Python of the runtime's kernels, as its kernel.json says; empty if there is none."""
    text = processes.read_text(os.path.join(server_directory, "data", "kernels", "python3", "kernel.json"))
    try:
        argv: Any = json.loads(text)["argv"]
        return str(argv[0])
    except (ValueError, KeyError, TypeError, IndexError):
        return ""
