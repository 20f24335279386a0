"""Finds environments of conda, pixi, venv, virtualenv and uv, and whether kernels can run there. Reads their files
only: running each Python would take too long."""

from __future__ import annotations

import glob
import os
import re
import shlex
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from . import activation, processes
from .data_dir import root_dir
from .environment_places import AUTO, find_prefixes

MAX_ENVIRONMENTS = 60
SEARCH_TIMEOUT_S = 5.0
# The module that kernel.json runs.
KERNEL_FILE = "ipykernel_launcher.py"
MAX_PTH_FILES = 20


@dataclass(frozen=True)
class KernelEnvironment:
    """``kind``: ``conda``, ``pixi``, ``venv`` or ``uv``. ``python_version``: such as ``3.12``, empty if unknown.
    ``project``: pixi's manifest. ``problem``: why no kernel can run there, empty if one can; ``fix``: a command."""

    prefix: str
    kind: str
    python_version: str = ""
    project: str = ""
    problem: str = ""
    fix: str = ""

    @property
    def python(self) -> str:
        return os.path.join(self.prefix, "bin", "python")

    @property
    def name(self) -> str:
        """For people, as its tool names it; not unique."""
        folder, own = os.path.split(self.prefix)
        if self.kind == "pixi":
            project = os.path.basename(os.path.dirname(self.project))
            return project if own == "default" else f"{project}-{own}"
        if self.kind == "conda":
            return "base" if _is_conda_root(self.prefix) else own
        is_general = own in (".venv", "venv", "env", ".env")
        return own.lstrip(".") if not is_general or _same(folder, os.path.expanduser("~")) else os.path.basename(folder)


@dataclass(frozen=True)
class FoundEnvironments:
    """``notes``: what was not searched, for people."""

    environments: tuple[KernelEnvironment, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass
class EnvironmentSearch:
    """Searches in a thread, so that a disk that does not respond only takes ``limit_s``. ``places``: of
    ``jupyter.kernels``."""

    places: list[str]
    working_dir: str
    limit_s: float = SEARCH_TIMEOUT_S
    _found: list[KernelEnvironment] = field(default_factory=list)
    _notes: list[str] = field(default_factory=list)
    _thread: threading.Thread | None = None
    _until: float = 0.0

    @property
    def has_begun(self) -> bool:
        return self._thread is not None

    def begin(self, env: Mapping[str, str]) -> None:
        """``env``: a login's. Windows has no shell that activates."""
        if self.places and os.name != "nt":
            self._until = time.monotonic() + self.limit_s
            self._thread = threading.Thread(target=self._search, args=(dict(env),), daemon=True, name="environments")
            self._thread.start()

    def result(self, sleep: Callable[[float], None] = time.sleep) -> FoundEnvironments:
        """Waits until the search ends, or its time."""
        thread, notes = self._thread, []
        while thread is not None and thread.is_alive() and time.monotonic() < self._until:
            thread.join(0.02)
            sleep(0.0)
        if thread is not None and thread.is_alive():
            notes = [f"The search for environments took more than {self.limit_s:.0f} s; some may be missing"]
        return FoundEnvironments(tuple(self._found), (*self._notes, *notes))

    def _search(self, env: Mapping[str, str]) -> None:
        for found in find_environments(self.places, self.working_dir, env):
            if len(self._found) == MAX_ENVIRONMENTS:
                self._notes.append(f"Only the first {MAX_ENVIRONMENTS} environments are kernels; "
                                   "`jupyter.kernels` sets which")  # fmt: skip
                return
            self._found.append(found)


def find_environments(places: Iterable[str], working_dir: str, env: Mapping[str, str]) -> Iterator[KernelEnvironment]:
    """Each once. A listed path that is no environment, and has none in it, is reported as a problem."""
    seen = {os.path.join(os.path.realpath(root_dir()), "venv")}
    for place in dict.fromkeys(places):
        path, count = os.path.expanduser(place), 0
        for prefix in find_prefixes(path, working_dir, env):
            real = os.path.realpath(prefix)
            described = None if real in seen else describe(os.path.abspath(prefix), env)
            if described:
                seen.add(real)
                yield described
            count += real in seen
        if not count and place != AUTO:
            what = "there is no environment" if os.path.isdir(path) else "there is no such folder"
            yield KernelEnvironment(os.path.abspath(path), "", problem=what)


def describe(prefix: str, env: Mapping[str, str]) -> KernelEnvironment | None:
    """None if it is no environment with a Python."""
    config = processes.read_text(os.path.join(prefix, "pyvenv.cfg"), 8192)
    is_venv, is_conda = bool(config), os.path.isdir(os.path.join(prefix, "conda-meta"))
    python = os.path.join(prefix, "bin", "python")
    if not (is_venv or is_conda) or not os.path.lexists(python):
        return None
    project = "" if is_venv else pixi_manifest(prefix)
    kind = ("uv" if re.search(r"^uv *=", config, re.MULTILINE) else "venv") if is_venv else "conda"
    kind = "pixi" if project else kind
    version = _python_version(prefix, config)
    problem = fix = ""
    if any(ord(letter) < 32 or 0xD800 <= ord(letter) < 0xE000 for letter in prefix):
        problem = "its path has characters that are not text"
    elif not os.access(python, os.X_OK):
        problem = f"its Python is gone: {os.path.realpath(python)}"
    elif not any(os.path.isfile(os.path.join(site, KERNEL_FILE)) for site in _module_folders(prefix, config, version)):
        problem, fix = "it has no ipykernel", install_command(kind, prefix, project, env)
    return KernelEnvironment(prefix, kind, version, project, problem, fix)


def pixi_manifest(prefix: str) -> str:
    """Of ``PROJECT/.pixi/envs/NAME``; empty if this is no environment of a pixi project."""
    envs = os.path.dirname(prefix)
    pixi, project = os.path.dirname(envs), os.path.dirname(os.path.dirname(envs))
    if os.path.basename(envs) != "envs" or os.path.basename(pixi) != ".pixi":
        return ""
    paths = [os.path.join(project, name) for name in ("pixi.toml", "pyproject.toml")]
    return next((path for path in paths if os.path.isfile(path)), "")


def install_command(kind: str, prefix: str, project: str, env: Mapping[str, str]) -> str:
    """The command that installs ipykernel there, for the machine's shell."""
    python, name = shlex.quote(os.path.join(prefix, "bin", "python")), os.path.basename(prefix)
    if kind == "pixi":
        feature = "" if name == "default" else f"--feature {shlex.quote(name)} "
        return f"pixi add --manifest-path {shlex.quote(project)} {feature}ipykernel"
    if kind == "conda":
        program = activation.find_activation(kind, prefix, project, env).program or "conda"
        is_named = os.path.basename(os.path.dirname(prefix)) == "envs"
        return f"{program} install {'-n ' + shlex.quote(name) if is_named else '-p ' + shlex.quote(prefix)} ipykernel"
    has_pip = glob.glob(os.path.join(glob.escape(prefix), "lib", "python*", "site-packages", "pip"))
    if kind == "venv" and has_pip:
        return f"{python} -m pip install ipykernel"
    return f"uv pip install --python {python} ipykernel"


def _python_version(prefix: str, config: str) -> str:
    named = re.search(r"^version(?:_info)? *= *(\d+\.\d+)", config, re.MULTILINE)
    if named:
        return named.group(1)
    folders = glob.glob(os.path.join(glob.escape(prefix), "lib", "python3.*"))
    found = [re.fullmatch(r"python(\d+\.\d+)t?", os.path.basename(folder)) for folder in folders]
    return next((match.group(1) for match in found if match), "")


def _module_folders(prefix: str, config: str, version: str) -> Iterator[str]:
    """Where its Python looks for packages, with those that ``.pth`` files add."""
    own = glob.glob(os.path.join(glob.escape(prefix), "lib", f"python{version or '3'}*", "site-packages"))
    yield from own
    for site in own:
        for path in sorted(glob.glob(os.path.join(glob.escape(site), "*.pth")))[:MAX_PTH_FILES]:
            lines = processes.read_text(path, 8192, "surrogateescape").splitlines()
            yield from (os.path.join(site, line) for line in lines if line and not line.startswith(("import ", "#")))
    sees_system = re.search(r"^include-system-site-packages *= *true", config, re.MULTILINE | re.IGNORECASE)
    if not config or sees_system:
        yield os.path.join(os.path.expanduser("~"), ".local", "lib", "python" + version, "site-packages")
    home = re.search(r"^home *= *(.+)$", config, re.MULTILINE)
    if sees_system and home:
        lib = os.path.join(os.path.dirname(home.group(1).strip()), "lib")
        yield os.path.join(lib, "python" + version, "site-packages")
        yield from ("/usr/lib/python3/dist-packages", f"/usr/local/lib/python{version}/dist-packages")


def _is_conda_root(prefix: str) -> bool:
    return os.path.isdir(os.path.join(prefix, "condabin")) or os.path.exists(os.path.join(prefix, "bin", "conda"))


def _same(path: str, other: str) -> bool:
    return os.path.realpath(path) == os.path.realpath(other)
