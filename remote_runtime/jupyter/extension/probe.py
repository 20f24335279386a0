"""Runs an interpreter to describe its environment, and where the bridge is installed in it."""

from __future__ import annotations

import json
import secrets
import subprocess
from pathlib import Path
from typing import Any

from ...core.errors import MachineError
from ...core.fast_dataclass import fast_dataclass
from ...core.sanitize import clean_line

MODULE = "remote_runtime_bridge"
_MIN_PYTHON = (3, 8)
_PROBE_TIMEOUT_S = 60.0
_MAX_PROBE_CHARS = 64 * 1024
_PROBE = """
import json, os, sys
sys.path[:] = [path for path in sys.path if path]
found = {"python": list(sys.version_info[:3]), "prefix": sys.prefix}
if sys.version_info >= (3, 8):
    import site, sysconfig
    from importlib import metadata
    def version(name):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            return None
    found.update({name: version(name) for name in ("jupyter_server", "notebook")})
    found.update(site=sysconfig.get_path("purelib"), user_site=site.getusersitepackages())
    try:
        from jupyter_core import paths
        found.update(user_config=paths.jupyter_config_dir(), runtime=paths.jupyter_runtime_dir())
    except ImportError:
        pass
print(sys.argv[1] + json.dumps(found))
"""


@fast_dataclass(frozen=True)
class InstallLocation:
    """The folders for the package and its configuration: the environment's, or the user's."""

    site: Path
    config: Path

    @property
    def package(self) -> Path:
        return self.site / MODULE

    def config_files(self, *, classic: bool) -> dict[Path, dict[str, Any]]:
        server = {"ServerApp": {"jpserver_extensions": {MODULE: True}}}
        files = {self.config / "jupyter_server_config.d" / f"{MODULE}.json": server}
        if classic:
            notebook = {"NotebookApp": {"nbserver_extensions": {MODULE: True}}}
            files[self.config / "jupyter_notebook_config.d" / f"{MODULE}.json"] = notebook
        return files


@fast_dataclass(frozen=True)
class PythonEnvironment:
    python: str
    jupyter_server: str | None
    notebook: str | None
    runtime: Path
    locations: tuple[InstallLocation, InstallLocation]

    @property
    def classic(self) -> bool:
        """Whether there is a Notebook with its own server; since 7 it uses jupyter_server."""
        return self.notebook is not None and self.notebook.split(".")[0] in ("4", "5", "6")


def probe_environment(python: str, *, needs_jupyter: bool = True) -> PythonEnvironment:
    marker = secrets.token_hex(16)
    try:
        completed = subprocess.run(
            [python, "-c", _PROBE, marker], stdin=subprocess.DEVNULL, capture_output=True, timeout=_PROBE_TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise MachineError("python-missing", f"{python} is not a working Python", str(exc)) from exc
    # Site files may print; only the line with the marker counts.
    lines = completed.stdout.decode("utf-8", "replace").splitlines()
    reply = next((line[len(marker) :] for line in lines if line.startswith(marker)), "")
    if completed.returncode != 0 or not reply:
        why = clean_line(completed.stderr.decode("utf-8", "replace"), 300)
        raise MachineError("python-missing", f"{python} is not a working Python", why)
    return _environment(python, reply, needs_jupyter=needs_jupyter)


def _environment(python: str, reply: str, *, needs_jupyter: bool) -> PythonEnvironment:
    try:
        found = json.loads(reply[:_MAX_PROBE_CHARS])
        if tuple(found["python"]) < _MIN_PYTHON:
            version = ".".join(str(part) for part in found["python"])
            raise MachineError("python-missing", f"{python} is too old", f"expected Python 3.8 or newer, got {version}")
        has_jupyter = bool(found["jupyter_server"] or found["notebook"])
        if needs_jupyter and not has_jupyter:
            why = "jupyter_server or notebook is required"
            raise MachineError("jupyter-missing", f"{python}'s environment has no Jupyter", why)
        prefix = Path(found["prefix"])
        user = InstallLocation(Path(found["user_site"]), Path(found.get("user_config") or Path.home() / ".jupyter"))
        own = InstallLocation(Path(found["site"]), prefix / "etc" / "jupyter")
        runtime = Path(found.get("runtime") or prefix / "nowhere")
        return PythonEnvironment(python, found["jupyter_server"], found["notebook"], runtime, (own, user))
    except (ValueError, KeyError, TypeError) as exc:
        raise MachineError("machine-answer-invalid", f"{python} did not describe its environment") from exc
