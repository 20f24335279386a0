"""The JSON Schema of profiles as a file, which editors complete and check the keys with.

A profile names it in its first line, in the form of https://github.com/redhat-developer/yaml-language-server: the
packaged profiles name the file beside them, and those of ``profiles new`` a copy in the user's folder. That copy has
the same path after any kind of installation; `profiles new` and `profiles edit` bring it up to date.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .schema import PROFILE
from .search_path import packaged_dir

FILE_NAME = "schema.json"
MODELINE = "# yaml-language-server: $schema="


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a profile, for editors. ``load`` checks more."""
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "remote-runtime profile"}
    return head | PROFILE.json_schema()


def schema_text() -> str:
    """The file's content."""
    return json.dumps(json_schema(), indent=2) + "\n"


def user_copy(user_dir: Path) -> Path:
    """The copy that profiles in ``user_dir`` name as ``../schema.json``."""
    return user_dir.parent / FILE_NAME


def template_text(name: str) -> str:
    """The text of a packaged profile, whose first line names the packaged schema wherever the text is copied to."""
    text = (packaged_dir() / f"{name}.yaml").read_text(encoding="utf-8")
    uri = (packaged_dir() / FILE_NAME).as_uri()
    return text.replace(f"{MODELINE}{FILE_NAME}\n", f"{MODELINE}{uri}\n", 1)
