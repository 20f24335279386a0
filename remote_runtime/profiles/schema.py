"""Every key of a profile, in one table: parsing, `profiles show` and the JSON Schema are made from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..core import profile
from .cluster_keys import CLUSTER
from .creation_keys import CREATE
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
    REGION,
    REMOTE_PATH,
    TOKEN_FILE,
    USER,
    ZONE,
    ForwardSpec,
    KernelPlaces,
    LocalPortOrRange,
    OneOrMore,
)
from .jupyter_rules import arg_problem, env_name_problem, is_secret_env_name
from .sections import Key, ListOf, MappingOf, Section, TaggedUnion
from .value_types import Boolean, Duration, FormatVersion, OneOf, Port, RemotePath, Text

RuleProblems = Iterator[tuple[str, str]]


def _check_one_instance(values: Mapping[str, Any], keys: frozenset[str]) -> RuleProblems:
    if "instance" in keys and "labels" in keys and values.get("labels"):
        yield "labels", "expected either `instance` or `labels`, got both"
    named = values.get("instance") or values.get("labels")
    unreadable = {"instance", "labels"} & keys - set(values)
    if not named and not unreadable:
        yield "instance", "required key is missing; set `instance` or `labels`"


def _check_places(values: Mapping[str, Any], keys: frozenset[str]) -> RuleProblems:
    attributes = {"zone": "zone", "zones": "zones", "region": "regions"}
    given = [name for name, attribute in attributes.items() if name in keys and values.get(attribute, True)]
    for name in given[1:]:
        yield name, f"expected one of `zone`, `zones` and `region`, got `{given[0]}` and `{name}`"
    if len(values.get("zones", ())) != len(set(values.get("zones", ()))):
        yield "zones", "expected different zones, got one twice"
    if "create" not in keys:
        return
    if not given:
        yield "create", "requires `zone`, `zones` or `region`: where the VM is created"
    if "instance" not in keys:
        yield "create", "requires `instance`, the name of the new VM"


def _check_demo_creation(values: Mapping[str, Any], keys: frozenset[str]) -> RuleProblems:
    if ("create" in keys) != bool("zones" in keys and values.get("zones", True)):
        missing = "zones" if "create" in keys else "create"
        yield missing, "required key is missing: `create` and `zones` are used together"


def _check_ports_unique(values: Mapping[str, Any], keys: frozenset[str]) -> RuleProblems:
    used = {values["local_port"]} if isinstance(values.get("local_port"), int) else set()
    for forward in values.get("extra", ()):
        if forward.local_port in used:
            yield "extra", f"expected different local ports, got `{forward.local_port}` twice"
        used.add(forward.local_port)


def _check_attach_combination(values: Mapping[str, Any], keys: frozenset[str]) -> RuleProblems:
    """The settings of a server that runs already cannot be changed."""
    for name in ("install", "working_dir", "port", "env", "args", "packages", "lab", "record_outputs", "kernels"):
        if values.get("attach") and name in keys and values.get(name) != getattr(profile.JupyterSettings(), name):
            yield name, "has no effect with `jupyter.attach`; remove one of the two"


def _check_target_combination(values: Mapping[str, Any], keys: frozenset[str]) -> RuleProblems:
    target, ssh, on_down = values.get("target"), values.get("ssh"), values.get("on_down")
    jupyter, idle = values.get("jupyter"), values.get("idle")
    if jupyter and jupyter.attach and idle and idle.after_s is not None:
        yield "idle", "`after` requires a server that remote-runtime starts; use `never` with `jupyter.attach`"
    if isinstance(target, profile.SshTarget) and ssh and target.port and ssh.port and target.port != ssh.port:
        yield "ssh", f"`port` {ssh.port} conflicts with `target.port` {target.port}; set one of them"
    if idle and idle.after_s is not None and idle.do != "stop-server" and target and target.kind in ("ssh", "local"):
        yield "idle", f"`do: {idle.do}` requires a target of kind `gce`; use `stop-server`"
    if values.get("cluster") and jupyter and jupyter.attach:
        yield "cluster", "requires a server that remote-runtime starts; remove `jupyter.attach`"
    if values.get("cluster") and target and target.kind == "demo":
        yield "cluster", "requires a target of kind `gce`, `ssh` or `local`"
    if on_down and on_down.instance != "keep" and target and target.kind in ("ssh", "local"):
        yield "on_down", f"`instance: {on_down.instance}` requires a target of kind `gce`; use `keep`"
    elif on_down and on_down.instance == "delete" and target and not target.create:
        yield "on_down", "`instance: delete` requires `target.create`: only a VM that `up` created is deleted"
    is_unlimited = isinstance(target, profile.GceTarget) and target.create and target.create.max_run_s is None
    if jupyter and jupyter.attach and is_unlimited and not idle:
        yield "jupyter", "`attach` on a VM that `create` makes requires `create.max_run`, or `idle: {after: never}`"


def _only_for_kind(kind: str, *names: str) -> dict[str, str]:
    return {name: f"requires a target of kind `{kind}`" for name in names}


def _kind_key(word: str) -> Key:
    return Key("kind", OneOf((word,)), "The kind of target.", required=True)


_GCE_ONLY = _only_for_kind("gce", "project", "zone", "instance", "labels", "connect", "start", "region")
_CREATION_ONLY = _only_for_kind("gce", "zones", "create")
_SSH_ONLY = _only_for_kind("ssh", "host", "port", "jump")

GCE = Section(
    profile.GceTarget,
    (
        _kind_key("gce"),
        Key(
            "project",
            PROJECT,
            "The project ID. Default: from the environment, gcloud or the credentials.",
        ),
        Key("zone", ZONE, "The VM's zone. Default: all zones of the project are searched."),
        Key("zones", ListOf(ZONE), "Zones in which `create` tries to create the VM, in this order."),
        Key("region", OneOrMore(REGION), "A region, or a list, in whose zones `create` tries it.", "regions"),
        Key("instance", INSTANCE, "The VM's name. Set this or labels."),
        Key("labels", MappingOf(LABEL_KEY, LABEL_VALUE, max_items=64), "Labels that select exactly one VM."),
        Key("connect", OneOf(("auto", "external", "internal", "iap")), "How to connect over SSH."),
        Key("start", Boolean(), "Start or resume the VM if it isn't running."),
        Key("create", CREATE, CREATE.description),
    ),
    "A Compute Engine VM.",
    (_check_one_instance, _check_places),
    _SSH_ONLY,
)
SSH_HOST = Section(
    profile.SshTarget,
    (
        _kind_key("ssh"),
        Key("host", HOST, "A host name, an address, or a Host of ~/.ssh/config.", required=True),
        Key("port", Port(), "The SSH port. Default: from ~/.ssh/config, else 22."),
        Key("jump", ListOf(JUMP, max_items=8), "Jump hosts (ProxyJump), first to last, each `[user@]host[:port]`."),
    ),
    "Any SSH host.",
    (),
    _GCE_ONLY | _CREATION_ONLY,
)
LOCAL = Section(
    profile.LocalTarget,
    (_kind_key("local"),),
    "This computer, without SSH.",
    (),
    _GCE_ONLY | _CREATION_ONLY | _SSH_ONLY,
)
DEMO = Section(
    profile.DemoTarget,
    (
        _kind_key("demo"),
        Key(
            "external_address",
            Boolean(),
            "Without an external address, the connection uses an emulated IAP.",
        ),
        Key("zones", ListOf(ZONE), "Emulated zones in which `create` tries to create the VM."),
        Key("create", CREATE, CREATE.description),
    ),
    "An emulated VM on this computer.",
    (_check_demo_creation,),
    _GCE_ONLY | _SSH_ONLY,
)
TARGET = TaggedUnion({"gce": GCE, "ssh": SSH_HOST, "local": LOCAL, "demo": DEMO})

SSH = Section(
    profile.SshSettings,
    (
        Key("user", USER, "The login name. Default: from OS Login, metadata or ~/.ssh/config, else yours."),
        Key("port", Port(), "The SSH port. Default: from ~/.ssh/config, else 22."),
        Key("identity_file", KEY_FILE, "A private key file. Default: ssh-agent, gcloud's key, the usual files."),
        Key("host_key", OneOf(("verified", "accept-new")), "Accept only verified host keys, or trust a new one."),
        Key("key_lifetime", Duration(60, 365 * 86400), "How long an SSH key that `up` adds to the VM is valid.",
            "key_lifetime_s"),
        Key("keepalive", Duration(1, 3600), "How often an idle connection is checked.", "keepalive_s"),
    ),
    "How to log in.",
)  # fmt: skip
ATTACH = Section(
    profile.AttachSettings,
    (
        Key("port", Port(), "The server's port on the machine.", required=True),
        Key(
            "token_file",
            TOKEN_FILE,
            "The token's file on the machine, mode 0600. Default: the server's own.",
        ),
    ),
    "A Jupyter server that is already running on the machine.",
)
JUPYTER = Section(
    profile.JupyterSettings,
    (
        Key("python", PYTHON, "The Python that has Jupyter: auto, or a path on the machine."),
        Key("install", OneOf(("auto", "never")), "Create a private environment if Jupyter is missing, or never."),
        Key("working_dir", RemotePath(REMOTE_PATH), "The working directory of notebooks, on the machine."),
        Key("port", Port("auto"), "The server's port on the machine."),
        Key("env", MappingOf(Text(find_problem=env_name_problem), Text(max_chars=32768), is_secret_env_name),
            "Environment variables of the server and its kernels."),
        Key("args", ListOf(Text(find_problem=arg_problem)),
            "Server options for limits, culling and logging, as listed below."),
        Key("attach", ATTACH, "Use a Jupyter server that is already running: {port: …, token_file: …}."),
        Key("packages", ListOf(PACKAGE), "Packages to install in the private environment."),
        Key("lab", OneOf(("auto", "never")), "Install JupyterLab in the private environment, or never."),
        Key("record_outputs", Boolean(), "Record what cells print while no page is open."),
        Key("kernels", KernelPlaces(), "Environments that become kernels: auto, a list of paths, or off."),
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
            "The local port: auto, a port, or a range [first, last]. It stays the same.",
        ),
        Key("engine", OneOf(("auto", "fast", "sshtunnel")), "The forwarding engine."),
        Key(
            "extra",
            ListOf(ForwardSpec()),
            "Extra forwards: LOCAL:REMOTE, LOCAL:HOST:REMOTE, LOCAL:/SOCKET. They are not authenticated.",
        ),
    ),
    "Port forwarding.",
    (_check_ports_unique,),
)
COLAB = Section(
    profile.ColabSettings,
    (Key("origins", ListOf(ORIGIN, min_items=1, max_items=16), "Web origins that are allowed to use the server."),),
    "Access from the browser.",
)
ON_DOWN = Section(
    profile.OnDownSettings,
    (
        Key(
            "server",
            OneOf(("stop", "keep")),
            "What to do with the Jupyter server. It always ends with its VM.",
        ),
        Key("instance", OneOf(("keep", "stop", "suspend", "delete")), "What to do with the VM."),
    ),
    "What `down` does.",
)
IDLE = Section(
    profile.IdleSettings,
    (
        Key(
            "after",
            Duration(60, 30 * 86400, allow_never=True),
            "How long without activity, such as 2h; or never.",
            "after_s",
        ),
        Key("do", OneOf(("stop-server", "stop-instance", "suspend-instance")), "What to stop then."),
    ),
    "Automatic stop of an idle runtime.",
)
TIMEOUTS = Section(
    profile.Timeouts,
    (
        Key("instance", Duration(), "To find and start the VM.", "instance_s"),
        Key("ssh", Duration(), "To connect and log in over SSH.", "ssh_s"),
        Key("jupyter", Duration(), "To start Jupyter.", "jupyter_s"),
        Key("install", Duration(), "To install packages on the machine, if needed.", "install_s"),
        Key("ready", Duration(), "To verify the connection.", "ready_s"),
    ),
    "The time limit of each step.",
)

PROFILE = Section(
    profile.Profile,
    (
        Key("version", FormatVersion(), "The version of the profile format; only 1 exists.", required=True),
        Key("target", TARGET, "The machine to run on.", required=True),
        Key("ssh", SSH, SSH.description),
        Key("jupyter", JUPYTER, JUPYTER.description),
        Key("forward", FORWARD, FORWARD.description),
        Key("colab", COLAB, COLAB.description),
        Key("on_down", ON_DOWN, ON_DOWN.description),
        Key("idle", IDLE, IDLE.description),
        Key("timeouts", TIMEOUTS, TIMEOUTS.description),
        Key("cluster", CLUSTER, CLUSTER.description),
    ),
    "A profile of remote-runtime.",
    (_check_target_combination,),
)
