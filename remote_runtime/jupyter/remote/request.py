"""The client's request as values. Field names are keys of its JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

RESTART_KEYS = ("python", "working_dir", "port", "env", "args", "attach", "record_outputs")


class BridgeFiles(NamedTuple):
    """The server extension: ``files`` maps paths inside ``bridge/<digest>/`` to their text."""

    digest: str
    version: str
    files: dict[str, str]


class IdleRule(NamedTuple):
    """``do``: ``stop-server``, ``stop-instance`` or ``suspend-instance`` when nothing was used for ``after_s``."""

    after_s: float
    do: str


class LaunchSpec(NamedTuple):
    """The server that should run. ``python``: ``auto`` or a path on this machine. ``port``: None for any; ``socket``: a
    unix socket is preferred. ``person``: the user asked for it; False for a reconnect. ``renew``: give it a new token,
    as another program may know the present one. ``attach``: ``port`` and ``token_file`` (None: look for it) of the
    user's own server. ``attempt``: identifies this start, so that only it can be undone. ``watchdog_source``: the
    launcher and its modules. ``lab``: install JupyterLab into a private environment. ``record_outputs``: what kernels
    publish while no client is there. ``kernels``: where environments that become kernels are."""

    python: str
    install: str
    working_dir: str
    port: int | None
    env: dict[str, str]
    args: list[str]
    packages: list[str]
    origins: list[str]
    socket: bool
    bridge: BridgeFiles
    boot: str
    person: bool = True
    renew: bool = False
    attempt: str = ""
    idle: IdleRule | None = None
    watchdog_source: dict[str, Any] = {}
    attach: dict[str, Any] | None = None
    hostnames: list[str] = ["localhost"]
    lab: bool = False
    record_outputs: bool = False
    kernels: list[str] = []

    @property
    def kernel_program(self) -> str:
        """The source of ``run_kernel.py``."""
        return kernel_program(self.watchdog_source)

    def key_digests(self) -> dict[str, str]:
        """Profile key → hash of its value, for the keys that need a new server. Hashed because ``env`` may hold
        secrets."""
        values = {f"jupyter.{name}": getattr(self, name) for name in RESTART_KEYS}
        values["colab.origins"] = self.origins
        texts = {key: json.dumps(value, sort_keys=True) for key, value in values.items()}
        return {key: hashlib.sha256(text.encode()).hexdigest()[:16] for key, text in texts.items()}


def kernel_program(request: Mapping[str, Any]) -> str:
    """The source of ``run_kernel.py``, which is sent with each request."""
    return next((text for name, text in request["sources"] if name.endswith(".run_kernel")), "")


def load_spec(request: dict[str, Any]) -> LaunchSpec:
    spec = dict(request["wish"])
    idle = spec.pop("idle", None)
    watchdog_source = {name: request.get(name) for name in ("launcher", "sources")}
    return LaunchSpec(
        bridge=BridgeFiles(**spec.pop("bridge")),
        idle=IdleRule(**idle) if idle else None,
        watchdog_source=watchdog_source,
        **spec,
    )
