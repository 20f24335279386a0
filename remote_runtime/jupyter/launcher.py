"""Sent over the wire and run by whatever Python the machine has; imports nothing of ours.

Reads one JSON document of orders from stdin: ``marker`` (starts every answer line), ``launcher`` (this source),
``sources`` (the modules of ``machine/``, in the order in which they need each other), and what ``machine/work.py``
wants. This file keeps to the syntax of Python 3.6, so that an old ``python3`` can still hand over to a newer one.
"""

import json
import os
import subprocess
import sys
import types

OLDEST = (3, 8)
PACKAGE = "remote_runtime_machine"
ENTRY = (
    "import sys;sys.path[:]=[p for p in sys.path if p];exec(sys.stdin.buffer.read(int(sys.stdin.buffer.readline())))"
)


def main() -> int:
    orders = json.loads(sys.stdin.buffer.read().decode("utf-8"))
    # A login file may have printed something without a line end.
    sys.stdout.write("\n")
    if sys.version_info < OLDEST:
        return hand_over(orders)
    work = load(orders["sources"])["work"]
    return int(work.run(orders, sys.stdout))


def load(sources: "list[list[str]]") -> "dict[str, types.ModuleType]":
    """The modules of ``machine/``, made in memory: nothing is written for a look at a healthy server."""
    package = types.ModuleType(PACKAGE)
    package.__path__ = []  # this makes it a package: relative imports work
    sys.modules[PACKAGE] = package
    modules = {}
    for name, source in sources:
        module = types.ModuleType(PACKAGE + "." + name)
        module.__package__ = PACKAGE
        sys.modules[module.__name__] = module
        setattr(package, name, module)
        exec(compile(source, "<" + name + ".py>", "exec"), module.__dict__)  # noqa: S102  # our own source, from our client
        modules[name] = module
    return modules


def hand_over(orders: "dict[str, object]") -> int:
    """Run the same orders with a newer Python of this machine, or say that there is none."""
    newer = find_newer()
    if newer is None:
        found = ".".join(str(part) for part in sys.version_info[:3])
        error = {
            "code": "python-missing",
            "what": "The machine's Python is too old",
            "why": "{} is Python {}; 3.8 or newer is needed, and none was found".format(sys.executable, found),
            "hint": "Install a newer Python there, or name one: `jupyter.python`",
        }
        sys.stdout.write(str(orders["marker"]) + json.dumps({"error": error}) + "\n")
        return 1
    launcher = str(orders["launcher"]).encode("utf-8")
    document = str(len(launcher)).encode() + b"\n" + launcher + json.dumps(orders).encode("utf-8")
    sys.stdout.flush()
    process = subprocess.Popen([newer, "-c", ENTRY], stdin=subprocess.PIPE)
    process.communicate(document)
    return process.returncode


def find_newer() -> "str | None":
    """A Python of at least ``OLDEST``, or None."""
    home = os.path.expanduser("~")
    conda = [os.path.join(home, name) for name in ("miniconda3", "anaconda3", "miniforge3", "mambaforge")]
    folders = [*os.environ.get("PATH", os.defpath).split(os.pathsep), "/usr/local/bin", "/usr/bin", "/opt/conda/bin"]
    names = ["python3." + str(minor) for minor in range(14, 7, -1)]
    paths = [os.path.join(folder, name) for name in names for folder in folders]
    paths += [os.path.join(prefix, "bin", "python3") for prefix in ["/opt/conda", *conda]]
    check = "import sys;sys.exit(sys.version_info < {!r})".format(OLDEST)
    for path in paths:
        if os.access(path, os.X_OK) and not os.path.isdir(path):
            try:
                answer = subprocess.call(
                    [path, "-c", check], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL, timeout=10,
                )  # fmt: skip
            except (OSError, subprocess.TimeoutExpired):
                continue
            if answer == 0:
                return path
    return None


if __name__ == "__main__":
    sys.exit(main())
