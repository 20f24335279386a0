"""The text of a new profile: the keys that the user chose, and as comments those that are most often added."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

from ..core.creation import CreateSettings
from ..core.fast_dataclass import fast_dataclass
from ..core.profile import GceTarget, LocalTarget, SshTarget
from .creation_keys import BOOT_DISK, CREATE, GPU, IMAGE
from .editor_schema import FILE_NAME, MODELINE
from .schema import GCE, IDLE, JUPYTER, SSH, SSH_HOST
from .sections import ListOf
from .validation_errors import ValidationError
from .yaml_nodes import parse

if TYPE_CHECKING:
    from .sections import Section

OnDown = Literal["keep", "stop", "suspend", "delete"]
_COMMENT_COLUMN = 36
# What `profiles new` asks for, and the section and key of each. A list is typed as words.
PROMPTED_KEYS: dict[str, tuple[Section, str]] = {
    "project": (GCE, "project"),
    "zone": (GCE, "zone"),
    "region": (GCE, "region"),
    "instance": (GCE, "instance"),
    "machine_type": (CREATE, "machine_type"),
    "gpu": (GPU, "type"),
    "disk_size": (BOOT_DISK, "size"),
    "image_family": (IMAGE, "family"),
    "image_project": (IMAGE, "project"),
    "host": (SSH_HOST, "host"),
    "user": (SSH, "user"),
    "idle": (IDLE, "after"),
    "packages": (JUPYTER, "packages"),
}


@fast_dataclass(frozen=True)
class ProfileTemplate:
    """``idle``: after how long without activity the VM stops. ``description``: of the machine, for a comment."""

    name: str
    target: GceTarget | SshTarget | LocalTarget
    user: str = ""
    on_down: OnDown = "keep"
    idle: str = ""
    description: str = ""
    packages: tuple[str, ...] = ()

    def text(self) -> str:
        """The profile's text, YAML with comments."""
        match self.target:
            case GceTarget() as target:
                sections = self._gce_sections(target)
            case SshTarget() as target:
                sections = self._ssh_sections(target)
            case LocalTarget():
                sections = ["target:\n  kind: local\n", self._jupyter_lines()]
        head = (
            f"{MODELINE}../{FILE_NAME}\n"
            "# Created by `remote-runtime profiles new`. All keys: `remote-runtime profiles show example`.\n"
            "version: 1\n"
        )
        return head + "\n".join(sections)

    def _gce_sections(self, target: GceTarget) -> list[str]:
        is_new = target.create is not None
        project = _line(
            "project", target.project or "", "your-project", "" if target.project else "default: your gcloud project"
        )
        if target.regions:
            place = _line("region", ", ".join(target.regions), "", "`up` takes a zone that has capacity")
        else:
            zone = target.zone or ""
            place = _line("zone", zone, "us-central1-a", "" if zone else "default: search all zones")
        name = "the name that it gets" if is_new else self.description
        ends = "keep, stop, suspend or delete" if is_new else "keep, stop or suspend"
        return [
            "target:\n  kind: gce\n"
            + project
            + place
            + _line("instance", target.instance or "", "", name)
            + _line("start", "", "false", "default: `up` starts a stopped VM")
            + (self._creation_lines(target.create) if target.create is not None else ""),
            self._ssh_lines(),
            self._jupyter_lines(),
            "on_down:\n"
            + _line(
                "instance",
                self.on_down,
                "",
                f"on `down`: {ends}",
            ),
            ("idle:\n" if self.idle else "# idle:\n")
            + _line("after", self.idle, "2h", "stop the VM when idle for this long", section_is_comment=not self.idle),
        ]

    def _creation_lines(self, create: CreateSettings) -> str:
        gpu, image, disk = create.gpu, create.image, create.boot_disk
        model = "" if create.provisioning == "standard" else create.provisioning
        max_run = f"{int(create.max_run_s // 3600)}h" if create.max_run_s else ""
        return (
            "  # `up` creates the VM if it does not exist:\n  create:\n"
            + _line("machine_type", create.machine_type, "", self.description, indent=4)
            + (f"    gpu: {{type: {gpu.type}, count: {gpu.count}}}\n" if gpu else "")
            + f"    image: {{family: {image.family}, project: {image.project}}}\n"
            + f"    boot_disk: {{size: {disk.size_gb}GB, type: {disk.type}}}\n"
            + _line("provisioning", model, "spot", "cheaper; Compute Engine can stop it", indent=4)
            + _line("max_run", max_run, "12h", "Compute Engine stops it then", indent=4)
            + _line("external_address", "", "true", "default: connect through IAP", indent=4)
        )

    def _ssh_sections(self, target: SshTarget) -> list[str]:
        return [
            "target:\n  kind: ssh\n"
            + _line("host", target.host, "", self.description or "a name, an address, or a Host of ~/.ssh/config")
            + _line("jump", "", "[bastion]", "jump hosts, first to last"),
            self._ssh_lines()
            + _line("host_key", "", "accept-new", "trust the host key on first use", section_is_comment=not self.user),
            self._jupyter_lines(),
        ]

    def _jupyter_lines(self) -> str:
        is_comment = not self.packages
        python = _line("python", "", "/opt/conda/bin/python", "default: detected", section_is_comment=is_comment)
        directory = _line("working_dir", "", "~/work", "of notebooks", section_is_comment=is_comment)
        if is_comment:
            return "# jupyter:\n" + python + directory
        packages = f"  packages: [{', '.join(_scalar(each) for each in self.packages)}]\n"
        return "jupyter:\n  # Installed with Jupyter if the machine has none:\n" + packages + python + directory

    def _ssh_lines(self) -> str:
        if self.user:
            return "ssh:\n" + _line("user", self.user, "", "login name")
        return "# ssh:\n" + _line("user", "", "me", "login name; default: detected", section_is_comment=True)


def value_error(key: str, text: str) -> str:
    """Why ``text`` is no value of this key of ``PROMPTED_KEYS``; empty if it is one."""
    try:
        value_of(key, text)
    except ValidationError as exc:
        return exc.problems[0].message
    return ""


def value_of(key: str, text: str) -> Any:
    """The value that ``text`` gives to this key of ``PROMPTED_KEYS``. Raises ``ValidationError``."""
    section, name = PROMPTED_KEYS[key]
    value_type = next(entry.value_type for entry in section.keys if entry.name == name)
    value = text.replace(",", " ").split() if isinstance(value_type, ListOf) else text
    return value_type.parse(parse(json.dumps(value)), key)


def _line(
    key: str, value: str, placeholder: str, comment: str, *, section_is_comment: bool = False, indent: int = 2
) -> str:
    """``key: value  # comment``. Without a value the line is a comment, with ``placeholder`` for the value."""
    start = " " * indent + ("" if value else "# ") if value or not section_is_comment else "#   "
    text = f"{start}{key}: {_scalar(value) if value else placeholder}"
    return (f"{text:<{_COMMENT_COLUMN - 1}} # {comment}" if comment else text) + "\n"


def _scalar(text: str) -> str:
    """``text`` in YAML, quoted if YAML would read another type."""
    import yaml

    plain = yaml.safe_dump(text, width=1000).splitlines()[0]
    return plain if not plain.startswith("'") else json.dumps(text, ensure_ascii=False)
