"""The nouns: frozen values that the modules hand to each other. Nothing here is live."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace
from typing import Literal
from urllib.parse import quote

from .access import InstalledKey, LoginAccess
from .fast_dataclass import fast_dataclass
from .metrics import Connections, MachineLoad, Traffic

# Characters. The bridge proves no shorter token: it could be guessed from the proof.
MIN_TOKEN_CHARS = 16


class Secret:
    """A string that does not show itself: its repr and str are ``***``; ``reveal()`` is the only way out."""

    __slots__ = ("__value",)

    def __init__(self, value: str) -> None:
        self.__value = value

    def reveal(self) -> str:
        return self.__value

    def __repr__(self) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other.reveal() == self.__value

    def __hash__(self) -> int:
        return hash(self.__value)


@fast_dataclass(frozen=True)
class Instance:
    """The machine found, and how to reach it.

    ``address`` and ``port``: where its SSH server is. ``host_key_name``: the name its host keys are pinned under
    (``compute.<id>`` on Compute Engine, else ``host`` or ``[host]:port``). ``host_keys``: the keys that the cloud
    vouches for, as ``TYPE BASE64`` lines. ``status``: Compute Engine's word, ``RUNNING`` for other machines.
    ``started_from``: the status it had when we started or resumed it, None if we did not. ``running_since``: ISO 8601,
    empty where nobody tells. ``project_from``, ``zone_from``, ``credentials_from``: where these were found, in words.
    ``via``: how it is reached, empty where there is one way only; ``why_via``: why so.
    ``access``: what Compute Engine knows of our keys, None for other machines.
    """

    kind: Literal["gce", "ssh", "local", "demo"]
    name: str
    address: str = ""
    port: int = 22
    status: str = "RUNNING"
    id: str | None = None
    zone: str | None = None
    project: str | None = None
    host_key_name: str = ""
    host_keys: tuple[str, ...] = ()
    started_from: str | None = None
    running_since: str = ""
    project_from: str = ""
    zone_from: str = ""
    credentials_from: str = ""
    access: LoginAccess | None = None
    via: Literal["", "external", "internal", "iap"] = ""
    why_via: str = ""

    @property
    def where(self) -> str:
        """Its SSH server, as a person is told."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"port {self.port} of {self.name} through IAP" if self.via == "iap" else f"{host}:{self.port}"

    def with_route_of(self, previous: Instance) -> Instance:
        """This one, reached as it was ``before``, if it still has the address that was not answering then."""
        if (previous.via, self.via) != ("iap", "external") or (previous.id, previous.address) != (
            self.id,
            self.address,
        ):
            return self
        return replace(self, via=previous.via, why_via=previous.why_via)


@fast_dataclass(frozen=True)
class Gpu:
    """``memory_bytes``: 0 where the GPU has none of its own. ``driver``: its version."""

    name: str
    memory_bytes: int
    driver: str


@fast_dataclass(frozen=True)
class Kernelspec:
    """A kernel that the server offers. ``language``: as Jupyter names it, such as ``python``."""

    name: str
    display_name: str
    language: str


@fast_dataclass(frozen=True)
class IdleWatchdog:
    """What watches on the machine for idleness. ``how`` it does what ``idle.do`` says: ``here`` (it ends the server),
    ``service-account``, ``power-off`` or ``none``, with the ``why``. ``verb``: what becomes of the machine, ``stop`` or
    ``suspend``. ``reboot``: what starts it again then, ``cron``, ``systemd`` or empty. ``local_ssd``: the machine has
    one, whose data a stop loses. ``failed``: why the last try did not succeed, empty if none failed."""

    after_s: float
    do: str
    how: str
    verb: str = ""
    why: str = ""
    reboot: str = ""
    local_ssd: bool = False
    failed: str = ""


UNKNOWN_INTERPRETER = "unknown"  # the interpreter of a server of the user's, where the system does not show it


@fast_dataclass(frozen=True)
class Server:
    """A Jupyter server on the machine, listening there on 127.0.0.1:``port`` or the unix socket ``socket``.

    ``directory``: its own folder on the machine (``~/.local/share/remote-runtime/servers/<name>-<client id>``).
    ``jupyter_server``, ``bridge``, ``python``: versions. ``notes``: what a person should know about this start.
    ``attached``: the user runs it; it has no directory of ours, and its bridge is empty where it has none.
    ``former``: one that had ended unasked was there before this one was started, and the machine was ``restarted``
    meanwhile, was the ``same`` all the time, or that is ``unknown``.
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

    @property
    def address(self) -> tuple[str, int]:
        """Where connections lead: host and port, or the path of the socket and 0."""
        return (self.socket, 0) if self.socket else ("127.0.0.1", self.port or 0)

    @property
    def can_prove_identity(self) -> bool:
        """Whether it can show that it knows the token, without being told it: the bridge does that."""
        return bool(self.bridge)

    @property
    def required_listen_address(self) -> str:
        """Where its proof must say that it listens; empty for a server of ours, whose token no other place knows. The
        user's own can come up on another port with the same token, and somebody else on this one."""
        return f"127.0.0.1:{self.port}" if self.attached else ""


def format_address(host: str, port: int) -> str:
    """A place on the machine, for a person: ``host:port``, or the path of a unix socket where the port is 0."""
    return f"{host}:{port}" if port else host


Verdict = Literal["ready", "starting", "reconnecting", "unreachable", "stranger", "down"]


@fast_dataclass(frozen=True)
class Health:
    """What was seen through the forwarded port. ``stranger``: something answers that is not our server. ``lacks``: what
    an attached server's settings lack, which Colab can do without."""

    verdict: Verdict
    why: str = ""
    rtt_ms: float | None = None
    missing_settings: tuple[str, ...] = ()


@fast_dataclass(frozen=True)
class Forward:
    """A local port and what it leads to on the machine (see ``named``)."""

    local: int
    remote: str


@fast_dataclass(frozen=True)
class Runtime:
    """All of it under one name: what the state file holds and what `status` shows.

    ``target``: ``{"kind", …}`` as the profile names it. ``since``: ISO 8601, when it became ready, else when the
    keeper started. ``unfinished``: the first `up` has not succeeded, so taking it down also puts the instance back.
    ``profile_text``: the profile as it was used, YAML; `down` needs no other. ``client_id``: what keys our folder on
    the machine, next to the name. ``last_error``: an error's ``as_dict()``. ``last_outage``: ``{"why", "at",
    "lasted_s"}`` of the last time that it did not stand, with ``restarted``: why Jupyter was started again, if it was.
    ``local_host``: ``127.0.0.1`` where another program listens on [::1].
    ``keys``: public keys that we put on the instance, or into OS Login, for `down --purge` to take away.
    ``page_requests``: how many requests of the profile's origins have reached the server, None while it is not known.
    ``idle_s``: for how long nothing was used, as the watchdog on the machine saw it last. ``seen``: ISO 8601, when the
    machine was last seen, where it is not seen now. ``folder``: our folder may be on the machine.
    """

    name: str
    profile_path: str
    target: Mapping[str, str]
    client_id: str
    profile_text: str = ""
    state: Verdict = "starting"
    why: str = ""
    local_port: int | None = None
    local_host: str = "localhost"
    instance: Instance | None = None
    server: Server | None = None
    forwards: tuple[Forward, ...] = ()
    keeper_pid: int = 0
    since: str = ""
    reconnects: int = 0
    last_outage: Mapping[str, str | float] | None = None
    rtt_ms: float | None = None
    kernels: int | None = None
    busy_kernels: int | None = None
    load: MachineLoad | None = None
    traffic: Traffic = field(default_factory=Traffic)
    connections: Connections = Connections()
    page_requests: int | None = None
    idle_s: float | None = None
    seen: str = ""
    folder: bool = False
    keys: tuple[InstalledKey, ...] = ()
    last_error: Mapping[str, str] | None = None
    unfinished: bool = True
    tool_version: str = ""

    @property
    def url(self) -> Secret | None:
        """What is pasted into Colab, token included; None while there is no server or no port."""
        if self.server is None or self.local_port is None:
            return None
        return Secret(f"http://{self.local_host}:{self.local_port}/?token={quote(self.server.token.reveal(), safe='')}")


@fast_dataclass(frozen=True)
class Finding:
    """One line of doctor. ``code``: the error's, empty where there is none. ``skipped``: ``why`` says what it needs.
    ``note``: nothing was checked, and a person should know it."""

    check: str
    verdict: Literal["ok", "note", "warning", "failed", "skipped"]
    what: str
    why: str = ""
    hint: str = ""
    code: str = ""


ServerEnd = Literal["stopped", "kept", "gone", "unknown"]


@fast_dataclass(frozen=True)
class TakeDownResult:
    """What became of it, as it was seen now. ``server``: ``unknown`` where the machine was not looked at. ``instance``:
    its status, ``UNKNOWN`` where it could not be read, None when there is none. ``checked``: a kept server was seen.
    ``remains``: what could not be taken away, in words. ``instance_since``: ISO 8601, when an instance that keeps
    running was started. ``notes``: what a person should know about what stays. ``elsewhere``: its Jupyter
    runs on another machine than the login reached."""

    name: str
    tunnel: bool
    server: ServerEnd
    instance: str | None
    remains: tuple[str, ...] = ()
    instance_since: str = ""
    attached: bool = False
    notes: tuple[str, ...] = ()
    elsewhere: bool = False
    checked: bool = True

    @property
    def server_still_ours(self) -> bool:
        """Whether a server of ours goes on, which a later `down` should find."""
        return self.server == "kept" and not self.attached
