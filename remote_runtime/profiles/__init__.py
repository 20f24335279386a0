"""Profiles: YAML files, parsed into ``core.profile.Profile``. The only importer of yaml.

An invalid file is refused with all its mistakes, each as ``file:line: key: expected X, got `Y```.
``search_path`` says where profiles are looked up, ``schema`` has the table of all keys.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from ..core.errors import UsageError
from ..core.fast_dataclass import fast_dataclass
from ..core.profile import ExtraForward, Profile
from .cluster_keys import load_workers
from .creation_keys import with_idle_default
from .editor_schema import json_schema, schema_text, template_text, user_copy
from .field_types import FORWARD_SYNTAX, parse_forward
from .rendering import DEFAULT_MARK, describe_target, marked_yaml, set_document, set_yaml, to_document, to_yaml
from .schema import PROFILE
from .search_path import Origin, find_profile, is_packaged, is_path, name_error, profile_files, source, user_dir
from .template import PROMPTED_KEYS, ProfileTemplate, value_error, value_of
from .validation_errors import ValidationError, expected, profile_error, quoted
from .yaml_nodes import parse, read_text

__all__ = [
    "DEFAULT_MARK",
    "PROMPTED_KEYS",
    "TEMPLATES",
    "ProfileFile",
    "ProfileTemplate",
    "find_profile",
    "is_packaged",
    "json_schema",
    "list_profiles",
    "load",
    "load_cluster_workers",
    "marked_yaml",
    "name_error",
    "name_of",
    "parse_extra_forward",
    "parse_profile",
    "schema_text",
    "set_document",
    "set_yaml",
    "source",
    "template_text",
    "to_document",
    "to_yaml",
    "user_copy",
    "user_dir",
    "value_error",
    "value_of",
]

TEMPLATES = ("example", "deep-learning-vm")


@fast_dataclass(frozen=True)
class ProfileFile:
    """``shadowed``: another file of this name is found first. ``problem``: why it is unusable, in one line, or None.
    ``kind`` and ``target``: of the machine, empty if it is unusable."""

    name: str
    path: Path
    origin: Origin
    shadowed: bool
    problem: str | None
    kind: str = ""
    target: str = ""

    @property
    def is_template(self) -> bool:
        """Whether it is to be copied and changed before it can be used."""
        return self.origin == "packaged" and self.name in TEMPLATES


def load(name_or_path: str, *, environ: Mapping[str, str] = os.environ, cwd: Path | None = None) -> Profile:
    """The profile of this name, from the search path, or of this file: a separator, ``.yaml`` or ``.yml`` makes it one.

    Raises ``UsageError``: ``profile-not-found``, or ``profile-invalid``: as ``ProfileError`` for mistakes in the file.
    """
    name, path = find_profile(name_or_path, environ, cwd or Path.cwd())
    return _read(name, path, name_or_path)


def load_cluster_workers(profile: Profile, environ: Mapping[str, str]) -> tuple[Profile, ...]:
    """The profiles of the workers of the profile's cluster; none without one. Raises as ``load``, and ``UsageError``
    ``cluster-worker-unfit``."""
    return load_workers(profile, environ, load)


def parse_profile(name: str, path: str, text: str) -> Profile:
    """The profile that ``to_yaml`` wrote down. Raises ``UsageError`` ``profile-invalid``."""
    return _parse(name, path, text, path)


def _parse(name: str, path: str, text: str, reference: str) -> Profile:
    try:
        node = parse(text)
        values = PROFILE.values(node, "")
    except ValidationError as exc:
        raise profile_error(reference, reference if is_path(reference) else path, path, text, exc) from exc
    values.pop("version")
    return with_idle_default(node, Profile(name=name, path=Path(path), **values))


def name_of(name_or_path: str) -> str:
    """The name of the profile that is meant, whether it exists or not. Raises ``UsageError`` ``profile-invalid``."""
    name = Path(name_or_path).stem if is_path(name_or_path) else name_or_path
    why = name_error(name)
    if why:
        raise UsageError("profile-invalid", f"Invalid profile name {quoted(name)}", why)
    return name


def list_profiles(environ: Mapping[str, str] = os.environ, *, cwd: Path | None = None) -> list[ProfileFile]:
    """All profiles of the search path, in its order."""
    result: list[ProfileFile] = []
    for search_dir, path in profile_files(environ, cwd or Path.cwd()):
        shadowed = any(earlier.name == path.stem for earlier in result)
        profile, problem = _inspect(path)
        kind, target = (profile.target.kind, describe_target(profile)) if profile else ("", "")
        result.append(ProfileFile(path.stem, path, search_dir.origin, shadowed, problem, kind, target))
    return result


def profile_paths(environ: Mapping[str, str], cwd: Path) -> dict[str, str]:
    """The file of each name; the files are not read."""
    paths: dict[str, str] = {}
    for _, path in profile_files(environ, cwd):
        if not name_error(path.stem):
            paths.setdefault(path.stem, str(path))
    return dict(sorted(paths.items()))


def parse_extra_forward(text: str) -> ExtraForward:
    """The forward that ``text`` describes, in a form of ``FORWARD_SYNTAX``. Raises ``UsageError`` ``usage``."""
    forward = parse_forward(text)
    if forward is None:
        raise UsageError("usage", f"Invalid port forward {quoted(text)}", expected(FORWARD_SYNTAX, quoted(text)))
    return forward


def _read(name: str, path: Path, reference: str) -> Profile:
    try:
        text = read_text(path)
    except OSError as exc:
        raise UsageError("profile-invalid", f"Can't read {path}", exc.strerror or str(exc)) from exc
    except ValidationError as exc:
        raise profile_error(reference, reference if is_path(reference) else str(path), str(path), "", exc) from exc
    return _parse(name, str(path), text, reference)


def _inspect(path: Path) -> tuple[Profile | None, str | None]:
    """The profile, or in one line why it cannot be used."""
    why = name_error(path.stem)
    if why:
        return None, why
    try:
        return _read(path.stem, path, path.stem), None
    except UsageError as exc:
        return None, exc.why.splitlines()[0] if exc.why else exc.what
