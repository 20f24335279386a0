"""Which kernels a server offers, as it says itself: its own interpreter's, and those that were installed beside it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from . import proof

WITHIN_S = 5.0
MOST = 100
DEFAULT = "python3"  # what Colab asks for


def kernelspecs(place: int | str, token: str) -> list[dict[str, str]]:
    """The default first, then by name; empty when the server does not say. Sends the token: only to a proven server,
    or one that is known to be the user's.

    Source: Jupyter Server's REST API, ``GET /api/kernelspecs``."""
    answer = proof.ask(place, token, "/api/kernelspecs", WITHIN_S)
    found = answer.get("kernelspecs")
    specs = found if isinstance(found, dict) else {}
    first = answer.get("default")
    return [read(name, specs[name]) for name in sorted(specs, key=lambda name: (name != first, name))[:MOST]]


def trouble(specs: list[dict[str, str]], env: Mapping[str, str]) -> list[str]:
    """What to tell when the kernel that Colab asks for is not offered, or its program is not there: no cell can run.
    ``env``: the server's, which says where it looks for kernels."""
    if specs and DEFAULT not in [spec["name"] for spec in specs]:
        offered = ", ".join(spec["name"] for spec in specs[:5])
        return [f"no cell of a Python notebook can run: the server offers no kernel {DEFAULT}, only {offered}; "
                "KernelSpecManager.allowed_kernelspecs or kernel_spec_manager_class may hide it"]  # fmt: skip
    gone = [spec["program"] for spec in specs if spec["name"] == DEFAULT and is_gone(spec["program"])]
    if not gone:
        return []
    from . import kernelspec

    path, program = kernelspec.installed(env, DEFAULT)
    where = f"{path} names it" if program == gone[0] else "its kernel.json names it"
    return [f"no cell can run: the program of the kernel {DEFAULT}, {gone[0]}, is not there; {where}. On the machine "
            "`python -m ipykernel install --user`, with the Python that cells should run in, replaces it"]  # fmt: skip


def is_gone(program: str) -> bool:
    return os.path.isabs(program) and not os.access(program, os.X_OK)


def read(name: str, described: Any) -> dict[str, str]:
    spec = described.get("spec") if isinstance(described, dict) else None
    told = spec if isinstance(spec, dict) else {}
    argv = told.get("argv")
    return {
        "name": name,
        "program": str(argv[0]) if isinstance(argv, list) and argv else "",
        "display_name": str(told.get("display_name") or name),
        "language": str(told.get("language") or ""),
    }
