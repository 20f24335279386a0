"""Asks an interpreter what environment it is of, and where the bridge belongs in it."""

from __future__ import annotations

import json
import secrets
import subprocess
from pathlib import Path
from typing import Any

from ...core.errors import MachineError
from ...core.frozen import dataclass
from ...core.sanitize import clean_line

MODULE = "remote_runtime_bridge"
_OLDEST_PYTHON = (3, 8)
_PROBE_LIMIT_S = 60.0
_PROBE_ANSWER_CHARACTERS = 64 * 1024
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


@dataclass(frozen=True)
class Place:
    """Where the package and its configuration belong: in the environment, or else in the user's own folders."""

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


@dataclass(frozen=True)
class Environment:
    python: str
    jupyter_server: str | None
    notebook: str | None
    runtime: Path
    places: tuple[Place, Place]

    @property
    def classic(self) -> bool:
        """Whether there is a notebook with a server of its own; since 7 it runs on jupyter_server."""
        return self.notebook is not None and self.notebook.split(".")[0] in ("4", "5", "6")


def look(python: str, *, needs_jupyter: bool = True) -> Environment:
    marker = secrets.token_hex(16)
    try:
        ended = subprocess.run(
            [python, "-c", _PROBE, marker], stdin=subprocess.DEVNULL, capture_output=True, timeout=_PROBE_LIMIT_S
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise MachineError("python-missing", f"{python} is not a Python that runs", str(exc)) from exc
    # Login and site files print things; only the line with our marker is ours.
    lines = ended.stdout.decode("utf-8", "replace").splitlines()
    answer = next((line[len(marker) :] for line in lines if line.startswith(marker)), "")
    if ended.returncode != 0 or not answer:
        why = clean_line(ended.stderr.decode("utf-8", "replace"), 300)
        raise MachineError("python-missing", f"{python} is not a Python that runs", why)
    return _environment(python, answer, needs_jupyter=needs_jupyter)


def _environment(python: str, answer: str, *, needs_jupyter: bool) -> Environment:
    try:
        found = json.loads(answer[:_PROBE_ANSWER_CHARACTERS])
        if tuple(found["python"]) < _OLDEST_PYTHON:
            version = ".".join(str(part) for part in found["python"])
            raise MachineError("python-missing", f"{python} is too old", f"it is {version}, the bridge needs 3.8")
        has_jupyter = bool(found["jupyter_server"] or found["notebook"])
        if needs_jupyter and not has_jupyter:
            why = "neither jupyter_server nor notebook is installed there"
            raise MachineError("jupyter-missing", f"{python}'s environment has no Jupyter", why)
        prefix = Path(found["prefix"])
        user = Place(Path(found["user_site"]), Path(found.get("user_config") or Path.home() / ".jupyter"))
        own = Place(Path(found["site"]), prefix / "etc" / "jupyter")
        runtime = Path(found.get("runtime") or prefix / "nowhere")
        return Environment(python, found["jupyter_server"], found["notebook"], runtime, (own, user))
    except (ValueError, KeyError, TypeError) as exc:
        raise MachineError("machine-answer-invalid", f"{python} did not describe its environment") from exc
