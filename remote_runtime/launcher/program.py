"""Sent to the machine and run by its Python, 3.8 or newer; imports nothing else of remote-runtime.

Reads one line from stdin, a JSON object: ``marker`` (begins every line of the reply), ``launcher`` (this source),
``sources`` (the modules that were sent: name below ``remote_runtime`` and text), ``program`` (the one that is run: its
function ``run`` gets the request and the stream for the replies), and the request.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import json
import sys
import types

PACKAGE = "remote_runtime_machine"


def main() -> int:
    request = json.loads(sys.stdin.buffer.readline().decode("utf-8"))
    # A login file may have printed something without a line end.
    sys.stdout.write("\n")
    return int(load(request["sources"], request["program"]).run(request, sys.stdout))


def load(sources: list[list[str]], name: str) -> types.ModuleType:
    """The module with this name, loaded from memory: no file is written to find a healthy server."""
    package = types.ModuleType(PACKAGE)
    package.__path__ = []  # makes it a package, so that relative imports work
    sys.modules[PACKAGE] = package
    sys.meta_path.insert(0, InMemoryFinder(dict(sources)))
    return importlib.import_module(PACKAGE + "." + name)


class InMemoryFinder:
    """A finder for ``sys.meta_path``. Compiling takes most of the launcher's time, so each module is compiled when it
    is imported."""

    def __init__(self, sources: dict[str, str]) -> None:
        self.sources = sources

    def find_spec(
        self, fullname: str, path: object = None, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        root, _, name = fullname.partition(".")
        is_package = any(each.startswith(name + ".") for each in self.sources)
        if root != PACKAGE or not (is_package or name in self.sources):
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=is_package)  # type: ignore[arg-type]  # a loader by its methods

    def create_module(self, spec: object) -> None:
        """None: an ordinary module."""

    def exec_module(self, module: types.ModuleType) -> None:
        name = module.__name__.partition(".")[2]
        code = compile(self.sources.get(name, ""), "<" + name + ">", "exec")
        exec(code, module.__dict__)  # noqa: S102  # its own source, from the client


if __name__ == "__main__":
    sys.exit(main())
