"""Sent over the wire and run by whatever Python the machine has; imports nothing of ours.

Reads one line of orders from stdin, a JSON document: ``marker`` (starts every answer line), ``launcher`` (this source),
``sources`` (the modules of ``remote/``: name and text), and what ``remote/work.py`` wants. This file keeps to the
syntax of Python 3.6, so that an old ``python3`` can still hand over to a newer one.
"""

import importlib
import importlib.machinery
import json
import os
import sys
import threading
import types

TYPE_CHECKING = False
if TYPE_CHECKING:
    import typing

MIN_PYTHON = (3, 8)
PACKAGE = "remote_runtime_machine"
ENTRY = (
    "import sys;sys.path[:]=[p for p in sys.path if p];exec(sys.stdin.buffer.read(int(sys.stdin.buffer.readline())))"
)


def main() -> int:
    request = json.loads(sys.stdin.buffer.readline().decode("utf-8"))
    # A login file may have printed something without a line end.
    sys.stdout.write("\n")
    if sys.version_info < MIN_PYTHON:
        return run_newer_python(request)
    return int(load(request["sources"], "dispatch").run(request, sys.stdout))


def load(sources: "list[list[str]]", name: str) -> "types.ModuleType":
    """The module of ``remote/`` with this name, made in memory: nothing is written for a look at a healthy server."""
    package = types.ModuleType(PACKAGE)
    package.__path__ = []  # this makes it a package: relative imports work
    sys.modules[PACKAGE] = package
    sys.meta_path.insert(0, InMemoryFinder(dict(sources)))
    return importlib.import_module(PACKAGE + "." + name)


class InMemoryFinder:
    """Finds what was sent, as ``sys.meta_path`` asks for it. Compiling takes most of the time of a look, so each module
    is compiled when something needs it."""

    def __init__(self, sources: "dict[str, str]") -> None:
        self.sources = sources

    def find_spec(
        self, fullname: str, path: object = None, target: object = None
    ) -> "importlib.machinery.ModuleSpec | None":
        package, _, name = fullname.rpartition(".")
        if package != PACKAGE or name not in self.sources:
            return None
        return importlib.machinery.ModuleSpec(fullname, self)  # type: ignore[arg-type]  # a loader by its methods

    def create_module(self, spec: object) -> None:
        """An ordinary module will do."""

    def exec_module(self, module: "types.ModuleType") -> None:
        name = module.__name__.rpartition(".")[2]
        code = compile(self.sources[name], "<" + name + ".py>", "exec")
        exec(code, module.__dict__)  # noqa: S102  # our own source, from our client


def run_newer_python(request: "dict[str, object]") -> int:
    """Run the same orders with a newer Python of this machine, or say that there is none."""
    newer = find_newer_python()
    if newer is None:
        version = ".".join(str(part) for part in sys.version_info[:3])
        error = {
            "code": "python-missing",
            "what": "The machine's Python is too old",
            "why": "{} is Python {}; 3.8 or newer is needed, and none was found".format(sys.executable, version),
            "hint": "Install a newer Python there, or name one: `jupyter.python`",
        }
        sys.stdout.write(str(request["marker"]) + json.dumps({"error": error}) + "\n")
        return 1
    import subprocess

    launcher = str(request["launcher"]).encode("utf-8")
    document = str(len(launcher)).encode() + b"\n" + launcher + json.dumps(request).encode("utf-8") + b"\n"
    sys.stdout.flush()
    process = subprocess.Popen([newer, "-E", "-S", "-c", ENTRY], stdin=subprocess.PIPE)
    threading.Thread(target=forward_input, args=(document, process.stdin), daemon=True).start()
    return process.wait()


def forward_input(document: bytes, pipe: "typing.IO[bytes]") -> None:
    """The orders, and then what the client still says. It holds no lock that the end of this process waits for."""
    try:
        while document:
            pipe.write(document)
            pipe.flush()
            document = os.read(0, 4096)
        pipe.close()
    except OSError:
        pass  # it ended without hearing all of it


def find_newer_python() -> "str | None":
    """A Python of at least ``OLDEST``, or None."""
    home = os.path.expanduser("~")
    conda = [os.path.join(home, name) for name in ("miniconda3", "anaconda3", "miniforge3", "mambaforge")]
    folders = [*os.environ.get("PATH", os.defpath).split(os.pathsep), "/usr/local/bin", "/usr/bin", "/opt/conda/bin"]
    names = ["python3." + str(minor) for minor in range(15, 7, -1)]
    paths = [os.path.join(folder, name) for name in names for folder in folders]
    paths += [os.path.join(prefix, "bin", "python3") for prefix in ["/opt/conda", *conda]]
    import subprocess

    check = "import sys;sys.exit(sys.version_info < {!r})".format(MIN_PYTHON)
    for path in paths:
        if os.access(path, os.X_OK) and not os.path.isdir(path):
            try:
                reply = subprocess.call(
                    [path, "-E", "-c", check], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL, timeout=10,
                )  # fmt: skip
            except (OSError, subprocess.TimeoutExpired):
                continue
            if reply == 0:
                return path
    return None


if __name__ == "__main__":
    sys.exit(main())
