"""Gives each Python kernel the function ``remote_runtime_outputs``, by the environment that its kernelspec sets."""

from __future__ import annotations

import os
from typing import Any, Dict

STARTUP_FILE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "in_kernel.py")


def install(server_app: Any) -> None:
    """For the kernels that the server starts from now on. IPython executes ``$PYTHONSTARTUP``; other kernels have no
    such function."""
    specs = server_app.kernel_spec_manager
    find = specs.get_kernel_spec

    def get_kernel_spec(name: str, *args: Any, **kwargs: Any) -> Any:
        spec = find(name, *args, **kwargs)
        if str(spec.language).lower() == "python":
            spec.env = kernel_environment(spec.env, server_app.info_file)
        return spec

    specs.get_kernel_spec = get_kernel_spec


def kernel_environment(env: Dict[str, str], info_file: str) -> Dict[str, str]:
    """``env`` of a kernelspec with the bridge's startup file, which executes the user's own.

    ``info_file``: the server's, which has its address and its token now. jupyter_client substitutes ``${NAME}``; ``$$``
    is a dollar sign."""
    ours = {"PYTHONSTARTUP": STARTUP_FILE, "RR_SERVER_INFO": info_file}
    own = env.get("PYTHONSTARTUP") or os.environ.get("PYTHONSTARTUP", "").replace("$", "$$")
    kept = {"RR_PYTHONSTARTUP": own} if own else {}
    return {**env, **{name: value.replace("$", "$$") for name, value in ours.items()}, **kept}
