"""What the libraries below us log."""

from __future__ import annotations

import logging


def silence_paramiko() -> None:
    """Without a handler Python prints paramiko's warnings to stderr; its debug log does not belong in ours."""
    for name in ("paramiko", "sshtunnel.SSHTunnelForwarder"):
        logger = logging.getLogger(name)
        logger.propagate = False
        if not logger.handlers:
            logger.addHandler(logging.NullHandler())
