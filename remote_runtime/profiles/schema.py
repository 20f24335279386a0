"""Every key of a profile: the one table from which parsing, ``profiles show`` and the JSON Schema are made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .._version import __version__
from ..core.endings import Idle, OnDown, Timeouts
from ..core.model import Profile
from ..core.profile import (
    Attach,
    ColabSettings,
    DemoTarget,
    ForwardSettings,
    GceTarget,
    JupyterSettings,
    LocalTarget,
    SshSettings,
    SshTarget,
)
from .collection_types import Listing, MapOf
from .field_types import (
    HOST,
    INSTANCE,
    JUMP,
    KEY_FILE,
    LABEL_KEY,
    LABEL_VALUE,
    ORIGIN,
    PACKAGE,
    PATH_THERE,
    PROJECT,
    PYTHON,
    TOKEN_FILE,
    USER,
    ZONE,
    Forward,
    LocalPort,
)
from .jupyter_rules import hides_env_value, refuse_arg, refuse_env_name
from .sections import Block, Key, NotYet, Variants
from .value_types import Choice, Duration, Home, Port, Switch, Text, Version

Found = Iterator[tuple[str, str, str]]
_RELEASE = ".".join(__version__.split(".")[:2])


def _only(*values: object) -> NotYet:
    return NotYet(values, _RELEASE)


def _one_machine(values: Mapping[str, Any], given: frozenset[str]) -> Found:
    if "instance" in given and "labels" in given and values.get("labels"):
        yield "labels", "is given beside instance", "either instance or labels"
    named = values.get("instance") or values.get("labels")
    unreadable = {"instance", "labels"} & given - set(values)
    if not named and not unreadable:
        yield "instance", "is missing", "either instance or labels"


def _one_use_of_a_port(values: Mapping[str, Any], given: frozenset[str]) -> Found:
    taken = {values["local_port"]} if isinstance(values.get("local_port"), int) else set()
    for forward in values.get("extra", ()):
        if forward.local_port in taken:
            yield "extra", f"the local port {forward.local_port} is used twice", "another local port"
        taken.add(forward.local_port)


def _nothing_to_start(values: Mapping[str, Any], given: frozenset[str]) -> Found:
    """A server that runs already was given its settings by whoever started it."""
    for name in ("install", "working_dir", "port", "env", "args", "packages"):
        if values.get("attach") and name in given and values.get(name) != getattr(JupyterSettings(), name):
            yield name, "changes nothing for a server that runs already", "either attach or this key"


def _what_fits_the_target(values: Mapping[str, Any], given: frozenset[str]) -> Found:
    target, ssh, on_down = values.get("target"), values.get("ssh"), values.get("on_down")
    jupyter, idle = values.get("jupyter"), values.get("idle")
    if jupyter and jupyter.attach and idle and idle.after_s is not None:
        yield "idle", "after watches servers that are started here, not one of jupyter.attach", "never"
    if isinstance(target, SshTarget) and ssh and target.port and ssh.port and target.port != ssh.port:
        yield "ssh", f"port {ssh.port} contradicts target.port {target.port}", "give one of them"
    if idle and idle.after_s is not None and idle.do != "stop-server" and target and target.kind in ("ssh", "local"):
        yield "idle", f"do: {idle.do} needs a target of kind gce", "stop-server"
    if on_down and on_down.instance != "keep" and target and target.kind in ("ssh", "local"):
        yield "on_down", f"instance: {on_down.instance} needs a target of kind gce", "keep"


def _of_kind(kind: str, *names: str) -> dict[str, str]:
    return {name: f"belongs to a target of kind {kind}" for name in names}


def _kind(word: str) -> Key:
    return Key("kind", Choice((word,)), "What the machine is.", required=True)


_GCE_ONLY = _of_kind("gce", "project", "zone", "instance", "labels", "connect", "start")
_SSH_ONLY = _of_kind("ssh", "host", "port", "jump")

GCE = Block(
    GceTarget,
    (
        _kind("gce"),
        Key("project", PROJECT, "The project's ID. Default: that of the credentials or the gcloud configuration."),
        Key("zone", ZONE, "The instance's zone. Default: searched in the whole project."),
        Key("instance", INSTANCE, "The instance's name. Either this or labels."),
        Key("labels", MapOf(LABEL_KEY, LABEL_VALUE, most=64), "The labels of the one instance that is meant."),
        Key("connect", Choice(("auto", "external", "internal", "iap")), "Which way the SSH connection takes."),
        Key("start", Switch(), "Start or resume the instance when it is not running."),
    ),
    "A Compute Engine instance.",
    (_one_machine,),
    _SSH_ONLY,
)
SSH_HOST = Block(
    SshTarget,
    (
        _kind("ssh"),
        Key("host", HOST, "A host name, an address, or a Host of ~/.ssh/config.", required=True),
        Key("port", Port(), "Its SSH port. Default: that of ~/.ssh/config, else 22."),
        Key("jump", Listing(JUMP, most=8), "Hosts to go through, first to last, each `[user@]host[:port]`."),
    ),
    "Any SSH host.",
    (),
    _GCE_ONLY,
)
LOCAL = Block(LocalTarget, (_kind("local"),), "This machine, without SSH.", (), _GCE_ONLY | _SSH_ONLY)
DEMO = Block(
    DemoTarget,
    (
        _kind("demo"),
        Key("external_address", Switch(), "Whether it has one; without it, an emulated IAP leads to it."),
    ),
    "The emulated machine on loopback.",
    (),
    _GCE_ONLY | _SSH_ONLY,
)
TARGET = Variants({"gce": GCE, "ssh": SSH_HOST, "local": LOCAL, "demo": DEMO})

SSH = Block(
    SshSettings,
    (
        Key("user", USER, "The login name. Default: OS Login's, the metadata's, ~/.ssh/config's, the local name."),
        Key("port", Port(), "The SSH server's port. Default: that of ~/.ssh/config, else 22."),
        Key("identity_file", KEY_FILE, "A private key. Default: the agent, gcloud's key, then the usual files."),
        Key("host_key", Choice(("verified", "accept-new")), "Accept verified host keys, or also the first one seen."),
        Key("key_lifetime", Duration(60, 365 * 86400), "How long a key that we add to the instance is valid.",
            "key_lifetime_s"),
        Key("keepalive", Duration(1, 3600), "How often the connection is tested while nothing is sent.", "keepalive_s"),
    ),
    "How to enter the machine.",
)  # fmt: skip
ATTACH = Block(
    Attach,
    (
        Key("port", Port(), "The port on which it listens on the machine.", required=True),
        Key("token_file", TOKEN_FILE, "The file there that holds its token, mode 0600. Default: what it wrote down."),
    ),
    "A Jupyter server that already runs on the machine.",
)
JUPYTER = Block(
    JupyterSettings,
    (
        Key("python", PYTHON, "The Python that has Jupyter: auto, or its path on the machine."),
        Key("install", Choice(("auto", "never")), "Make a private environment when no Jupyter is found, or never."),
        Key("working_dir", Home(PATH_THERE), "Where notebooks run and files are shown, on the machine."),
        Key("port", Port("auto"), "The server's port on the machine."),
        Key("env", MapOf(Text(check=refuse_env_name), Text(most_characters=32768), hides_env_value),
            "Environment variables of the server and its kernels."),
        Key("args", Listing(Text(check=refuse_arg)), "Limits, culling and logging of the server, as listed below."),
        Key("attach", ATTACH, "Use a Jupyter server that already runs there: {port: …, token_file: …}."),
        Key("packages", Listing(PACKAGE), "More packages for the private environment."),
    ),
    "The Jupyter server on the machine.",
    (_nothing_to_start,),
)  # fmt: skip
FORWARD = Block(
    ForwardSettings,
    (
        Key("local_port", LocalPort(), "The port here: auto, a port, or a range [first, last]. It stays the same."),
        Key("engine", Choice(("auto", "fast", "sshtunnel")), "What forwards the connections."),
        Key(
            "extra",
            Listing(Forward()),
            "More forwards: LOCAL:REMOTE, LOCAL:HOST:REMOTE, LOCAL:/SOCKET. No token guards them.",
        ),
    ),
    "What is forwarded from here to the machine.",
    (_one_use_of_a_port,),
)
COLAB = Block(
    ColabSettings,
    (Key("origins", Listing(ORIGIN, least=1, most=16), "The web pages that may use the server."),),
    "Who may use the server from a browser.",
)
ON_DOWN = Block(
    OnDown,
    (
        Key(
            "server",
            Choice(("stop", "keep")),
            "What becomes of the Jupyter server; one on an instance that stops ends.",
        ),
        Key("instance", Choice(("keep", "stop", "suspend")), "What becomes of the instance."),
    ),
    "What `down` does.",
)
IDLE = Block(
    Idle,
    (
        Key(
            "after", Duration(60, 30 * 86400, never=True), "How long nothing runs before something is done.", "after_s"
        ),
        Key("do", Choice(("stop-server", "stop-instance", "suspend-instance")), "What is done then."),
    ),
    "What to do when nobody uses the runtime.",
)
TIMEOUTS = Block(
    Timeouts,
    (
        Key("instance", Duration(), "To find and start the instance.", "instance_s"),
        Key("ssh", Duration(), "To reach and enter the machine.", "ssh_s"),
        Key("jupyter", Duration(), "To start Jupyter.", "jupyter_s"),
        Key("ready", Duration(), "Until the whole path answers.", "ready_s"),
    ),
    "How long each step may take.",
)

PROFILE = Block(
    Profile,
    (
        Key("version", Version(), "The version of this format.", required=True),
        Key("target", TARGET, "Where the runtime is.", required=True),
        Key("ssh", SSH, SSH.about),
        Key("jupyter", JUPYTER, JUPYTER.about),
        Key("forward", FORWARD, FORWARD.about),
        Key("colab", COLAB, COLAB.about),
        Key("on_down", ON_DOWN, ON_DOWN.about),
        Key("idle", IDLE, IDLE.about),
        Key("timeouts", TIMEOUTS, TIMEOUTS.about),
    ),
    "A profile of remote-runtime.",
    (_what_fits_the_target,),
)
