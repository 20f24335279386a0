"""Values survive the way through JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from remote_runtime import profiles
from remote_runtime.core.access import AccessGrant, InstalledKey, LoginAccess
from remote_runtime.core.codec import from_json, to_json
from remote_runtime.core.model import Instance, Server
from remote_runtime.core.profile import Profile

PROFILES = sorted((Path(__file__).parents[3] / "profiles").glob("*.yaml"))
KEY = InstalledKey("metadata", "me", "ssh-ed25519 A", 17, "my-vm", "1", "z", "p")


def through_json(value: Any) -> Any:
    return from_json(type(value), json.loads(json.dumps(to_json(value))))


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_a_profile_is_read_as_it_was_written(path: Path) -> None:
    profile = profiles.load(str(path))
    assert through_json(profile) == profile


@pytest.mark.parametrize(
    "local_port", ["auto", "8888", "[8888, 8899]"], ids=["any port", "one port", "a range of ports"]
)
def test_what_differs_in_type_stays_so(local_port: str, tmp_path: Path) -> None:
    profile = profiles.parse_profile(
        "here",
        str(tmp_path / "here.yaml"),
        "version: 1\ntarget: {kind: ssh, host: box, jump: [a, b]}\njupyter: {env: {API_KEY: s3cret}}\n"
        f"forward: {{local_port: {local_port}, extra: ['6006:6006']}}\n",
    )
    assert through_json(profile) == profile


def test_an_access_grant_has_its_key_or_none() -> None:
    for grant in (
        AccessGrant(LoginAccess("os-login", "me", ("ssh-rsa B",), 1.5), KEY),
        AccessGrant(LoginAccess("metadata")),
    ):
        assert through_json(grant) == grant


def test_missing_fields_get_their_defaults() -> None:
    assert from_json(Instance, {"kind": "gce", "name": "my-vm"}) == Instance("gce", "my-vm")


@pytest.mark.parametrize("document", [{"port": 1}, {"name": "x"}, []], ids=["a field lacks", "none of ours", "a list"])
def test_another_shape_is_refused(document: Any) -> None:
    with pytest.raises((TypeError, AttributeError)):
        from_json(Server, document)
    with pytest.raises((TypeError, AttributeError)):
        from_json(Profile, document)
