"""The key files with which another SSH client logs in as this program does."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ...core.profile import SshSettings
from ..files.known_hosts import format_public_key
from ..files.paths import expand_home, home_dir, path_exists
from .keys import GCLOUD_KEY_FILE, Keys


def named_files(settings: SshSettings, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Those of the profile and of ~/.ssh/config, as absolute paths."""
    names = [*([settings.identity_file] if settings.identity_file else []), *settings.identity_files]
    return _absolute(names, environ)


def accepted_files(
    keys: Keys, settings: SshSettings, environ: Mapping[str, str], accepted_keys: Collection[str]
) -> tuple[str, ...]:
    """The files of those of ``accepted_keys`` (``TYPE BASE64``) that this computer has, of all where none is known, and
    the one that is installed where none is accepted. Empty if only an agent has one of ``accepted_keys``. Raises
    ``SshError`` ``no-usable-key``."""
    if settings.identity_file:
        return _absolute([settings.identity_file], environ)
    found = [each for each in keys.candidates(settings, environ) if each.blob]
    accepted = [each for each in found if format_public_key(each.blob) in accepted_keys]
    names = [each.label for each in accepted or found if each.path is not None]
    if accepted and not names:
        return ()
    if not names or path_exists(expand_home(GCLOUD_KEY_FILE, home_dir(environ))):
        names.append(GCLOUD_KEY_FILE)
    return _absolute(names, environ)


def _absolute(names: Collection[str], environ: Mapping[str, str]) -> tuple[str, ...]:
    home = home_dir(environ)
    return tuple(dict.fromkeys(str(expand_home(name, home).absolute()) for name in names))
