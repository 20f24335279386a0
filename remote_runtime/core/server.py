"""A Jupyter server on the machine: its kernels, its GPUs, its idle watchdog."""

from __future__ import annotations

from .fast_dataclass import fast_dataclass
from .secret import Secret


@fast_dataclass(frozen=True)
class Gpu:
    """``memory_bytes``: 0 for a GPU without memory of its own. ``driver``: its version."""

    name: str
    memory_bytes: int
    driver: str


@fast_dataclass(frozen=True)
class Kernelspec:
    """A kernel that the server offers. ``language``: Jupyter's name of it, such as ``python``."""

    name: str
    display_name: str
    language: str


@fast_dataclass(frozen=True)
class IdleWatchdog:
    """The watchdog on the machine that acts when the server is idle. ``do``: the profile's ``idle.do``. ``how`` it does
    that: ``here`` (it ends the server), ``service-account``, ``power-off`` or ``none``; ``why``: the reason. ``verb``:
    ``stop`` or ``suspend`` for the machine. ``reboot``: what starts the watchdog after a reboot, ``cron``, ``systemd``
    or empty. ``local_ssd``: the machine has one, and a stop loses its data. ``failed``: why the last attempt failed,
    empty if none did."""

    after_s: float
    do: str
    how: str
    verb: str = ""
    why: str = ""
    reboot: str = ""
    local_ssd: bool = False
    failed: str = ""


UNKNOWN_INTERPRETER = "unknown"  # of a server that the user started, where the system does not show it


@fast_dataclass(frozen=True)
class Server:
    """A Jupyter server on the machine, listening there on 127.0.0.1:``port`` or the unix socket ``socket``.

    ``directory``: its own folder on the machine (``~/.local/share/remote-runtime/servers/<name>-<client id>``).
    ``jupyter_server``, ``bridge``, ``python``: versions; ``bridge`` is empty without one. ``notes``: messages about
    this start. ``attached``: the user started it, and it has no such directory. ``former``: empty, unless an earlier
    server had ended unexpectedly: ``restarted`` if the machine was rebooted since, ``same`` if not, or ``unknown``.
    ``missing_packages``: of numpy, pandas and torch, those that its kernel's Python lacked when it started.
    """

    port: int | None
    pid: int
    token: Secret
    directory: str
    started_by_us: bool
    jupyter_server: str
    bridge: str
    python: str
    interpreter: str
    notes: tuple[str, ...] = ()
    gpus: tuple[Gpu, ...] = ()
    kernelspecs: tuple[Kernelspec, ...] = ()
    socket: str | None = None
    idle: IdleWatchdog | None = None
    attached: bool = False
    former: str = ""
    missing_packages: tuple[str, ...] = ()

    @property
    def address(self) -> tuple[str, int]:
        """Host and port, or the path of the unix socket and 0."""
        return (self.socket, 0) if self.socket else ("127.0.0.1", self.port or 0)

    @property
    def can_prove_identity(self) -> bool:
        """Whether it can prove its identity without receiving the token, which takes the bridge."""
        return bool(self.bridge)

    @property
    def required_listen_address(self) -> str:
        """The address that its proof must name; empty for a server that `up` started: no other has its token. A server
        of the user can move to another port and keep its token, and another user's server can take its port."""
        return f"127.0.0.1:{self.port}" if self.attached else ""
