"""The bridge: a Jupyter server extension through which Colab's page reaches the server.

Importable as ``remote_runtime.bridge`` where this project is installed and, copied into another environment, as
``remote_runtime_bridge``. Python 3.8 or newer; needs only tornado and the Jupyter server, and imports neither before it
is loaded.
"""

from __future__ import annotations

from typing import Any, Dict, List

__version__ = "0.1.0"


def _jupyter_server_extension_points() -> List[Dict[str, str]]:
    """For jupyter_server; notebook 6 knows it by the other name."""
    return [{"module": __name__}]


_jupyter_server_extension_paths = _jupyter_server_extension_points


def _load_jupyter_server_extension(server_app: Any) -> None:
    """Called once by jupyter_server with its ``ServerApp``, by notebook 6 with its ``NotebookApp``."""
    from .extension import load

    load(server_app)


load_jupyter_server_extension = _load_jupyter_server_extension
