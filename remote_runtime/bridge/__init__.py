"""The bridge: a Jupyter server extension through which Colab's page reaches the server.

Importable as ``remote_runtime.bridge`` where this project is installed and, copied into another environment, as
``remote_runtime_bridge``. Python 3.8 or newer; needs only tornado and the Jupyter server, and imports neither before it
is loaded.
"""

from __future__ import annotations

from typing import Any, Dict, List

__version__ = "0.1.0"


def _jupyter_server_extension_points() -> List[Dict[str, str]]:
    """For jupyter_server 1.x and 2.x."""
    return [{"module": __name__}]


def _jupyter_server_extension_paths() -> List[Dict[str, str]]:
    """For notebook 6."""
    return _jupyter_server_extension_points()


def _load_jupyter_server_extension(server_app: Any) -> None:
    """Called once by jupyter_server with its ``ServerApp``."""
    from .extension import load

    load(server_app)


def load_jupyter_server_extension(server_app: Any) -> None:
    """Called by notebook 6 with its ``NotebookApp``."""
    _load_jupyter_server_extension(server_app)
