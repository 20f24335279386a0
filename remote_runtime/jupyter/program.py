"""A program as it is sent to an IPython kernel: its request, and the modules of ``in_kernel/``."""

from __future__ import annotations

import functools
import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path

from ..core.fast_dataclass import fast_dataclass

# In the order in which they import each other.
MODULES = ("items", "run", "pump", "streams", "program")
_BOOT = """
import sys, types
if PACKAGE not in sys.modules:
    package = types.ModuleType(PACKAGE)
    package.__path__ = []
    for name, source in SOURCES:
        module = types.ModuleType(PACKAGE + '.' + name)
        module.__package__ = PACKAGE
        sys.modules[module.__name__] = module
        exec(compile(source, '<remote-runtime ' + name + '>', 'exec'), module.__dict__)
    sys.modules[PACKAGE] = package
sys.modules[PACKAGE + '.program'].handle(REQUEST)
"""


@fast_dataclass(frozen=True)
class KernelProgram:
    """``file``: its name, empty for code without one, which tracebacks call ``label``. ``arguments``: after the first
    of ``sys.argv``. ``tty``: which of stdin, stdout and stderr are a terminal. ``environment``: more variables."""

    code: str
    file: str = ""
    label: str = "<string>"
    arguments: tuple[str, ...] = ()
    tty: Mapping[str, bool] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    id: str = field(default_factory=lambda: secrets.token_hex(8))

    @property
    def first_argument(self) -> str:
        return self.file or {"<string>": "-c", "<stdin>": "-"}[self.label]

    def request_code(self, *, detach: bool = False) -> str:
        """The code of a request that runs it."""
        return _boot(
            {
                "run": self.id,
                "detach": detach,
                "code": self.code,
                "file": self.file,
                "label": self.label,
                "argv": [self.first_argument, *self.arguments],
                "tty": dict(self.tty),
                "env": dict(self.environment),
            }
        )

    def resume_code(self) -> str:
        """The code of a request that sends the items again which have not arrived."""
        return _boot({"run": self.id, "resume": True})


def _boot(request: Mapping[str, object]) -> str:
    """One statement, which leaves no name behind."""
    package, sources = _sources()
    values = {"PACKAGE": package, "SOURCES": sources, "REQUEST": json.dumps(request)}
    return f"exec({_BOOT!r}, {values!r})"


@functools.cache
def _sources() -> tuple[str, list[tuple[str, str]]]:
    directory = Path(__file__).parent / "in_kernel"
    sources = [(name, (directory / f"{name}.py").read_text(encoding="utf-8")) for name in MODULES]
    return f"_remote_runtime_{hashlib.sha256(repr(sources).encode()).hexdigest()[:8]}", sources
