"""Writes a report for the issue tracker: versions, findings, the profile and the last log lines. Tokens, keys,
passwords, values of ``jupyter.env``, e-mail addresses and the path of the home folder are removed. Names of projects,
instances, hosts and users, and addresses, are kept, because a report is useless without them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ... import profiles
from ...core.errors import LocalError, UsageError
from ...core.model import Finding
from ...core.private_file import write_private
from ...core.profile import Profile
from ...core.sanitize import clean
from ...state.log_file import redact
from ...state.store import StateDir, list_names, load_if_readable

MAX_BLOCK_CHARS = 200_000
MIN_SECRET_CHARS = 6
HEAD = (
    "Written by `remote-runtime doctor --report`. Tokens, keys and e-mail addresses are removed. Names of projects, "
    "instances, hosts and users are kept: read it before you post it."
)
PATTERNS = (
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL), "***"),
    (re.compile(r"\bya29\.[\w.-]+"), "***"),  # Google's access tokens
    (re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]*"), "***"),  # JSON web tokens
    (re.compile(r"\bAAAA[A-Za-z0-9+/=]{20,}"), "***"),  # the data of an SSH key
    (re.compile(r"\b(?:[A-Za-z0-9+]{44,}|[0-9a-fA-F]{32,})"), "***"),
    (re.compile(r"[\w.+-]+@(?!openssh\.com\b|libssh\.org\b)[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+"), "EMAIL"),
    # An account of OS Login is its e-mail address with underscores.
    (re.compile(r"\b[a-z0-9]+(?:_[a-z0-9]+)+_(?:com|org|net|edu|io|dev|ai)\b"), "LOGIN"),
)


def check_path(path: Path, *, force: bool) -> None:
    """Raises ``UsageError`` when the file exists and ``force`` is not set, or when it cannot be created."""
    if path.exists() and not force:
        raise UsageError("usage", f"{path} already exists", "", "--force overwrites it")
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise UsageError("usage", f"Can't write {path}", "its directory does not exist, or it is a directory")


def write(path: Path, text: str) -> None:
    """Write the file atomically, 0600. Raises ``LocalError`` ``report-not-written``."""
    try:
        write_private(path, text.encode())
    except OSError as error:
        raise LocalError("report-not-written", f"Can't write {path}", error.strerror or str(error)) from error


def compose(
    findings: Iterable[Finding],
    *,
    versions: Mapping[str, str],
    profile: Profile | None,
    runtimes: Sequence[Mapping[str, Any]],
    logs: Mapping[str, Sequence[str]],
    state: StateDir,
    environ: Mapping[str, str],
) -> str:
    """The report in Markdown. ``runtimes``: RUNTIME documents; ``logs``: the last lines by title."""
    parts = [
        "# remote-runtime doctor",
        HEAD,
        _block("Versions", [f"{name}: {version}" for name, version in versions.items()]),
    ]
    parts.append(_block("Findings", [line for finding in findings for line in _lines(finding)]))
    if profile is not None:
        parts.append(_block(f"Profile {profile.name}", json.dumps(_redacted_document(profile), indent=1).splitlines()))
    for runtime in runtimes:
        document = {key: value for key, value in runtime.items() if key != "url"}
        parts.append(_block(f"Runtime {runtime['name']}", json.dumps(document, indent=1).splitlines()))
    parts += [_block(title, lines) for title, lines in logs.items() if lines]
    secrets = [*known_secrets(state), *_env_values(profile)]
    return scrub("\n\n".join(parts) + "\n", sorted(secrets, key=len, reverse=True), environ)


def scrub(text: str, secrets: Iterable[str], environ: Mapping[str, str]) -> str:
    """Removes ``secrets`` and everything that looks secret or personal."""
    for secret in secrets:
        text = text.replace(secret, "***")
    text = redact(text)
    for pattern, replacement in PATTERNS:
        text = pattern.sub(replacement, text)
    home = environ.get("HOME", "").rstrip(os.sep)
    return text.replace(home, "~") if len(home) > 1 else text


def known_secrets(state: StateDir) -> list[str]:
    """The tokens of all runtimes whose state file can be read."""
    # An unreadable file is a finding of its own, and its text is in no report.
    runtimes = (load_if_readable(state, name) for name in list_names(state))
    return [runtime.server.token.reveal() for runtime in runtimes if runtime is not None and runtime.server is not None]


def _env_values(profile: Profile | None) -> list[str]:
    """Values long enough to be secrets: a 1 or an ``on`` is in every log. Programs may log them."""
    values = profile.jupyter.env.values() if profile is not None else ()
    return [value for value in values if len(value) >= MIN_SECRET_CHARS]


def _redacted_document(profile: Profile) -> dict[str, Any]:
    document = profiles.to_document(profile)
    jupyter = document.get("jupyter", {})
    if jupyter.get("env"):
        jupyter["env"] = dict.fromkeys(jupyter["env"], "***")
    return document


def _lines(finding: Finding) -> list[str]:
    code = f" ({finding.code})" if finding.code else ""
    lines = [f"{finding.verdict:<8} [{finding.check}] {finding.what}{code}"]
    lines += [f"         why: {finding.why}"] if finding.why else []
    return lines + ([f"         next: {finding.hint}"] if finding.hint else [])


def _block(title: str, lines: Iterable[str]) -> str:
    text = clean("\n".join(lines), MAX_BLOCK_CHARS).replace("```", "'''")
    return f"## {title}\n\n```text\n{text}\n```"
