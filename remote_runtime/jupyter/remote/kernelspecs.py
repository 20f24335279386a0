"""Which kernels a server offers, as it says itself: its own interpreter's, and those that were installed beside it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from . import proof

TIMEOUT_S = 5.0
MAX_KERNELSPECS = 100
DEFAULT = "python3"  # what Colab asks for


def list_kernelspecs(address: int | str, token: str) -> list[dict[str, str]]:
    """The default first, then by name; empty when the server does not say. Sends the token: only to a proven server,
    or one that is known to be the user's.

    Source: Jupyter Server's REST API, ``GET /api/kernelspecs``."""
    answer = proof.get_json(address, token, "/api/kernelspecs", TIMEOUT_S)
    by_name = answer.get("kernelspecs")
    specs = by_name if isinstance(by_name, dict) else {}
    first = answer.get("default")
    return [
        parse_kernelspec(name, specs[name])
        for name in sorted(specs, key=lambda name: (name != first, name))[:MAX_KERNELSPECS]
    ]


def missing_kernel_notes(specs: list[dict[str, str]], env: Mapping[str, str]) -> list[str]:
    """What to tell when the kernel that Colab asks for is not offered, or its program is not there: no cell can run.
    ``env``: the server's, which says where it looks for kernels."""
    if specs and DEFAULT not in [spec["name"] for spec in specs]:
        offered = ", ".join(spec["name"] for spec in specs[:5])
        return [
            f"no cell of a Python notebook can run: the server offers no kernel {DEFAULT}, only {offered}; "
            "KernelSpecManager.allowed_kernelspecs or kernel_spec_manager_class may hide it"
        ]
    missing = [spec["program"] for spec in specs if spec["name"] == DEFAULT and is_missing(spec["program"])]
    if not missing:
        return []
    from . import kernelspec

    path, program = kernelspec.find_installed(env, DEFAULT)
    where = f"{path} names it" if program == missing[0] else "its kernel.json names it"
    return [
        f"no cell can run: the program of the kernel {DEFAULT}, {missing[0]}, is not there; {where}. On the machine "
        "`python -m ipykernel install --user`, with the Python that cells should run in, replaces it"
    ]


def is_missing(program: str) -> bool:
    return os.path.isabs(program) and not os.access(program, os.X_OK)


def parse_kernelspec(name: str, document: Any) -> dict[str, str]:
    spec = document.get("spec") if isinstance(document, dict) else None
    values = spec if isinstance(spec, dict) else {}
    argv = values.get("argv")
    return {
        "name": name,
        "program": str(argv[0]) if isinstance(argv, list) and argv else "",
        "display_name": str(values.get("display_name") or name),
        "language": str(values.get("language") or ""),
    }
