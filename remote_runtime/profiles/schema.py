"""Every key of a profile, in one table: parsing, `profiles show` and the JSON Schema are made from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..core import profile
from .field_types import (
    HOST,
    INSTANCE,
    JUMP,
    KEY_FILE,
    LABEL_KEY,
    LABEL_VALUE,
    ORIGIN,
    PACKAGE,
    PROJECT,
    PYTHON,
    REMOTE_PATH,
    TOKEN_FILE,
    USER,
    ZONE,
    ForwardSpec,
    LocalPortOrRange,
)
from .jupyter_rules import arg_problem, env_name_problem, is_secret_env_name
from .sections import Key, ListOf, MappingOf, Section, TaggedUnion
from .value_types import Boolean, Duration, FormatVersion, OneOf, Port, RemotePath, Text

RuleProblems = Iterator[tuple[str, str, str]]


def _check_one_instance(values: Mapping[str, Any], keys: frozenset[str]) -> RuleProblems:
    if "instance" in keys and "labels" in keys and values.get("labels"):
        yield "labels", "is given beside instance", "either instance or labels"
    named = values.get("instance") or values.get("labels")
    unreadable = {"instance", "labels"} & keys - set(values)
    if not named and not unreadable:
        yield "instance", "is missing", "either instance or labels"


def _check_ports_unique(values: Mapping[str, Any], keys: frozenset[str]) -> RuleProblems:
    used = {values["local_port"]} if isinstance(values.get("local_port"), int) else set()
    for forward in values.get("extra", ()):
        if forward.local_port in used:
            yield "extra", f"the local port {forward.local_port} is used twice", "another local port"
        used.add(forward.local_port)


def _check_attach_combination(values: Mapping[str, Any], keys: frozenset[str]) -> RuleProblems:
    """The settings of a server that runs already cannot be changed."""
    for name in ("install", "working_dir", "port", "env", "args", "packages"):
        if values.get("attach") and name in keys and values.get(name) != getattr(profile.JupyterSettings(), name):
            yield name, "changes nothing for a server that runs already", "either attach or this key"


def _check_target_combination(values: Mapping[str, Any], keys: frozenset[str]) -> RuleProblems:
    target, ssh, on_down = values.get("target"), values.get("ssh"), values.get("on_down")
    jupyter, idle = values.get("jupyter"), values.get("idle")
    if jupyter and jupyter.attach and idle and idle.after_s is not None:
        yield "idle", "after watches servers that are started here, not one of jupyter.attach", "never"
    if isinstance(target, profile.SshTarget) and ssh and target.port and ssh.port and target.port != ssh.port:
        yield "ssh", f"port {ssh.port} contradicts target.port {target.port}", "give one of them"
    if idle and idle.after_s is not None and idle.do != "stop-server" and target and target.kind in ("ssh", "local"):
        yield "idle", f"do: {idle.do} needs a target of kind gce", "stop-server"
    if on_down and on_down.instance != "keep" and target and target.kind in ("ssh", "local"):
        yield "on_down", f"instance: {on_down.instance} needs a target of kind gce", "keep"


def _only_for_kind(kind: str, *names: str) -> dict[str, str]:
    return {name: f"belongs to a target of kind {kind}" for name in names}


def _kind_key(word: str) -> Key:
    return Key("kind", OneOf((word,)), "What the machine is.", required=True)


_GCE_ONLY = _only_for_kind("gce", "project", "zone", "instance", "labels", "connect", "start")
_SSH_ONLY = _only_for_kind("ssh", "host", "port", "jump")

GCE = Section(
    profile.GceTarget,
    (
        _kind_key("gce"),
        Key("project", PROJECT, "The project's ID. Default: that of the credentials or the gcloud configuration."),
        Key("zone", ZONE, "The instance's zone. Default: searched in the whole project."),
        Key("instance", INSTANCE, "The instance's name. Either this or labels."),
        Key("labels", MappingOf(LABEL_KEY, LABEL_VALUE, max_items=64), "The labels of the one instance that is meant."),
        Key("connect", OneOf(("auto", "external", "internal", "iap")), "Which way the SSH connection takes."),
        Key("start", Boolean(), "Start or resume the instance when it is not running."),
    ),
    "A Compute Engine instance.",
    (_check_one_instance,),
    _SSH_ONLY,
)
SSH_HOST = Section(
    profile.SshTarget,
    (
        _kind_key("ssh"),
        Key("host", HOST, "A host name, an address, or a Host of ~/.ssh/config.", required=True),
        Key("port", Port(), "Its SSH port. Default: that of ~/.ssh/config, else 22."),
        Key("jump", ListOf(JUMP, max_items=8), "Hosts to go through, first to last, each `[user@]host[:port]`."),
    ),
    "Any SSH host.",
    (),
    _GCE_ONLY,
)
LOCAL = Section(profile.LocalTarget, (_kind_key("local"),), "This machine, without SSH.", (), _GCE_ONLY | _SSH_ONLY)
DEMO = Section(
    profile.DemoTarget,
    (
        _kind_key("demo"),
        Key("external_address", Boolean(), "Whether it has one; without it, an emulated IAP leads to it."),
    ),
    "The emulated machine on loopback.",
    (),
    _GCE_ONLY | _SSH_ONLY,
)
TARGET = TaggedUnion({"gce": GCE, "ssh": SSH_HOST, "local": LOCAL, "demo": DEMO})

SSH = Section(
    profile.SshSettings,
    (
        Key("user", USER, "The login name. Default: OS Login's, the metadata's, ~/.ssh/config's, the local name."),
        Key("port", Port(), "The SSH server's port. Default: that of ~/.ssh/config, else 22."),
        Key("identity_file", KEY_FILE, "A private key. Default: the agent, gcloud's key, then the usual files."),
        Key("host_key", OneOf(("verified", "accept-new")), "Accept verified host keys, or also the first one seen."),
        Key("key_lifetime", Duration(60, 365 * 86400), "How long a key that we add to the instance is valid.",
            "key_lifetime_s"),
        Key("keepalive", Duration(1, 3600), "How often the connection is tested while nothing is sent.", "keepalive_s"),
    ),
    "How to enter the machine.",
)  # fmt: skip
ATTACH = Section(
    profile.AttachSettings,
    (
        Key("port", Port(), "The port on which it listens on the machine.", required=True),
        Key("token_file", TOKEN_FILE, "The file there that holds its token, mode 0600. Default: what it wrote down."),
    ),
    "A Jupyter server that already runs on the machine.",
)
JUPYTER = Section(
    profile.JupyterSettings,
    (
        Key("python", PYTHON, "The Python that has Jupyter: auto, or its path on the machine."),
        Key("install", OneOf(("auto", "never")), "Make a private environment when no Jupyter is found, or never."),
        Key("working_dir", RemotePath(REMOTE_PATH), "Where notebooks run and files are shown, on the machine."),
        Key("port", Port("auto"), "The server's port on the machine."),
        Key("env", MappingOf(Text(find_problem=env_name_problem), Text(max_chars=32768), is_secret_env_name),
            "Environment variables of the server and its kernels."),
        Key("args", ListOf(Text(find_problem=arg_problem)),
            "Limits, culling and logging of the server, as listed below."),
        Key("attach", ATTACH, "Use a Jupyter server that already runs there: {port: …, token_file: …}."),
        Key("packages", ListOf(PACKAGE), "More packages for the private environment."),
    ),
    "The Jupyter server on the machine.",
    (_check_attach_combination,),
)  # fmt: skip
FORWARD = Section(
    profile.ForwardSettings,
    (
        Key(
            "local_port",
            LocalPortOrRange(),
            "The port here: auto, a port, or a range [first, last]. It stays the same.",
        ),
        Key("engine", OneOf(("auto", "fast", "sshtunnel")), "What forwards the connections."),
        Key(
            "extra",
            ListOf(ForwardSpec()),
            "More forwards: LOCAL:REMOTE, LOCAL:HOST:REMOTE, LOCAL:/SOCKET. No token guards them.",
        ),
    ),
    "What is forwarded from here to the machine.",
    (_check_ports_unique,),
)
COLAB = Section(
    profile.ColabSettings,
    (Key("origins", ListOf(ORIGIN, min_items=1, max_items=16), "The web pages that may use the server."),),
    "Who may use the server from a browser.",
)
ON_DOWN = Section(
    profile.OnDownSettings,
    (
        Key(
            "server",
            OneOf(("stop", "keep")),
            "What becomes of the Jupyter server; one on an instance that stops ends.",
        ),
        Key("instance", OneOf(("keep", "stop", "suspend")), "What becomes of the instance."),
    ),
    "What `down` does.",
)
IDLE = Section(
    profile.IdleSettings,
    (
        Key(
            "after",
            Duration(60, 30 * 86400, allow_never=True),
            "How long nothing runs before something is done.",
            "after_s",
        ),
        Key("do", OneOf(("stop-server", "stop-instance", "suspend-instance")), "What is done then."),
    ),
    "What to do when nobody uses the runtime.",
)
TIMEOUTS = Section(
    profile.Timeouts,
    (
        Key("instance", Duration(), "To find and start the instance.", "instance_s"),
        Key("ssh", Duration(), "To reach and enter the machine.", "ssh_s"),
        Key("jupyter", Duration(), "To start Jupyter.", "jupyter_s"),
        Key("ready", Duration(), "Until the whole path answers.", "ready_s"),
    ),
    "How long each step may take.",
)

PROFILE = Section(
    profile.Profile,
    (
        Key("version", FormatVersion(), "The version of this format.", required=True),
        Key("target", TARGET, "Where the runtime is.", required=True),
        Key("ssh", SSH, SSH.description),
        Key("jupyter", JUPYTER, JUPYTER.description),
        Key("forward", FORWARD, FORWARD.description),
        Key("colab", COLAB, COLAB.description),
        Key("on_down", ON_DOWN, ON_DOWN.description),
        Key("idle", IDLE, IDLE.description),
        Key("timeouts", TIMEOUTS, TIMEOUTS.description),
    ),
    "A profile of remote-runtime.",
    (_check_target_combination,),
)
