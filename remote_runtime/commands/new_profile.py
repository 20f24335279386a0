"""`profiles new`: a profile from the options of the command line, and its file."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

from .. import profiles
from ..core.creation import GPU_FAMILIES, BootDisk, CreateSettings, GpuRequest, ImageSource, Provisioning
from ..core.errors import LocalError, UsageError
from ..core.fast_dataclass import fast_dataclass
from ..core.private_file import write_private
from ..core.profile import GceTarget, LocalTarget, SshTarget
from ..profiles import ProfileTemplate

Kind = Literal["gce", "new-vm", "ssh", "local"]
OnDown = Literal["keep", "stop", "suspend", "delete"]
NO_PACKAGES = "none"
# https://cloud.google.com/deep-learning-vm/docs/images; they have the GPU's driver, and Jupyter.
GPU_IMAGE = ("pytorch-2-9-cu129-ubuntu-2404-nvidia-580", "deeplearning-platform-release")
PLAIN_IMAGE = ("ubuntu-2404-lts-amd64", "ubuntu-os-cloud")
DEFAULT_DISK_SIZE = "100GB"
FLEX_START_RUN_S = 12 * 3600.0

NEW_VM_OPTIONS = (
    "region", "machine_type", "gpu", "provisioning", "disk_size", "image_family", "image_project",
)  # fmt: skip


@fast_dataclass(frozen=True)
class ProfileOptions:
    """The options of the command line; None was not given. ``gpu``: of a new VM, ``TYPE`` or ``TYPE:COUNT``."""

    name: str | None = None
    kind: Kind | None = None
    project: str | None = None
    zone: str | None = None
    instance: str | None = None
    host: str | None = None
    user: str | None = None
    on_down: OnDown | None = None
    idle: str | None = None
    packages: str | None = None
    region: str | None = None
    machine_type: str | None = None
    gpu: str | None = None
    provisioning: Provisioning | None = None
    disk_size: str | None = None
    image_family: str | None = None
    image_project: str | None = None

    @property
    def describes_new_vm(self) -> bool:
        return self.kind == "new-vm" or any(getattr(self, key) is not None for key in NEW_VM_OPTIONS)

    def is_complete(self) -> bool:
        """Whether they name a machine without an interview."""
        if self.describes_new_vm:
            return bool(self.instance and self.machine_type and (self.zone or self.region))
        return bool(self.kind == "local" or self.instance or self.host)

    def with_kind(self) -> ProfileOptions:
        """With the kind that the other options imply. Raises ``UsageError`` for invalid or contradicting values."""
        kinds: set[Kind] = {self.kind} if self.kind else set()
        if self.describes_new_vm:
            kinds = {"new-vm", *(kinds - {"gce"})}
        elif self.project or self.zone or self.instance or self.on_down or self.idle:
            kinds.add("gce")
        if self.host:
            kinds.add("ssh")
        if len(kinds) > 1:
            raise UsageError(
                "usage", f"Some options require a target of kind {', others of kind '.join(sorted(kinds))}"
            )
        for key in profiles.PROMPTED_KEYS:
            value = getattr(self, key)
            value = value.partition(":")[0] if key == "gpu" and value else value
            why = profiles.value_error(key, value) if value is not None else ""
            if why:
                raise UsageError("usage", f"--{key.replace('_', '-')}: {why}")
        if self.gpu and not re.fullmatch(r"[^:]+(:[1-9][0-9]?)?", self.gpu):
            raise UsageError("usage", f"--gpu: expected TYPE or TYPE:COUNT, got {self.gpu!r:.80}")
        return replace(self, kind=next(iter(kinds), None))


def draft_from_options(options: ProfileOptions, environ: Mapping[str, str]) -> ProfileTemplate:
    """The profile that the options alone describe. Raises ``UsageError`` when they are not enough."""
    options = options.with_kind()
    if options.kind == "new-vm" and not options.is_complete():
        hint = "`remote-runtime machine-types --gpu l4` lists machine types and regions"
        raise UsageError("usage", "A new VM requires --instance, --machine-type and --region or --zone", "", hint)
    if not options.is_complete():
        raise UsageError(
            "usage",
            "Not a terminal: pass --instance, --host or --kind local",
            "",
            "Name the machine, for example `remote-runtime profiles new --instance my-vm`",
        )
    return build_draft(options, options.name or next(free_names(options, environ)))


def check_name(name: str, *, force: bool, environ: Mapping[str, str]) -> None:
    """Raises ``UsageError`` for an invalid name, and where there is a profile of this name already, unless ``force``
    allows it to be replaced or hidden."""
    why = profiles.name_error(name)
    if why:
        raise UsageError("profile-invalid", f"Invalid profile name {name!r:.80}", why)
    path = profile_path(name, environ)
    for other in profiles.list_profiles(environ):
        if other.name != name or other.shadowed:
            continue
        hides_it = other.path != path and other.origin == "environment"
        if hides_it or not force:
            why = f"{other.path} takes precedence" if hides_it else str(other.path)
            hint = "Choose another name" if hides_it else "Choose another name, or pass --force to replace it"
            raise UsageError("usage", f"Profile {name} already exists", why, hint)


def write(draft: ProfileTemplate, *, force: bool, environ: Mapping[str, str]) -> Path:
    """Write the file into the user's own folder, 0600, and the schema that it names. Raises as ``check_name``, and
    ``LocalError`` ``profile-not-written``."""
    check_name(draft.name, force=force, environ=environ)
    path = profile_path(draft.name, environ)
    text = draft.text()
    profiles.parse_profile(draft.name, str(path), text)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(path, text.encode())
        write_schema(path.parent)
    except OSError as error:
        raise LocalError("profile-not-written", f"Can't write {path}", error.strerror or str(error)) from error
    return path


def write_schema(user_dir: Path) -> None:
    """Bring the copy of the JSON Schema up to date that the profiles in ``user_dir`` name. Raises ``OSError``."""
    write_private(profiles.user_copy(user_dir), profiles.schema_text().encode())


def profile_path(name: str, environ: Mapping[str, str]) -> Path:
    """The file of a profile of this name in the user's own folder."""
    return profiles.user_dir(environ, Path.cwd()) / f"{name}.yaml"


def is_taken(name: str, environ: Mapping[str, str]) -> bool:
    return any(found.name == name for found in profiles.list_profiles(environ))


def build_draft(options: ProfileOptions, name: str, description: str = "") -> ProfileTemplate:
    target: GceTarget | SshTarget | LocalTarget
    if options.kind == "new-vm":
        regions = (options.region,) if options.region else ()
        target = GceTarget(options.instance, project=options.project, zone=options.zone, regions=regions)
        target = replace(target, create=_create_settings(options))
    elif options.kind == "gce":
        target = GceTarget(options.instance, project=options.project, zone=options.zone)
    elif options.kind == "ssh":
        target = SshTarget(options.host or "")
    else:
        target = LocalTarget()
    idle = options.idle if options.idle not in (None, "never") else ""
    packages = tuple((options.packages or "").replace(",", " ").split())
    packages = () if packages == (NO_PACKAGES,) else packages
    return ProfileTemplate(
        name, target, options.user or "", options.on_down or "keep", idle or "", description, packages
    )


def _create_settings(options: ProfileOptions) -> CreateSettings:
    machine_type = options.machine_type or ""
    gpu, _, count = (options.gpu or "").partition(":")
    has_gpu = bool(gpu) or machine_type.partition("-")[0] in GPU_FAMILIES
    family, project = GPU_IMAGE if has_gpu else PLAIN_IMAGE
    return CreateSettings(
        machine_type,
        ImageSource(options.image_family or family, project=options.image_project or project),
        GpuRequest(gpu, int(count or 1)) if gpu else None,
        BootDisk(profiles.value_of("disk_size", options.disk_size or DEFAULT_DISK_SIZE)),
        options.provisioning or "standard",
        max_run_s=FLEX_START_RUN_S if options.provisioning == "flex-start" else None,
    )


def free_names(options: ProfileOptions, environ: Mapping[str, str]) -> Iterator[str]:
    """Names that no profile has: the machine's own first."""
    machine = options.instance or options.host or "here"
    plain = re.sub("[^A-Za-z0-9._-]+", "-", machine).strip("-.")[:60] or "machine"
    for name in itertools.chain([plain], (f"{plain}-{number}" for number in itertools.count(2))):
        if not profiles.name_error(name) and not is_taken(name, environ):
            yield name
