"""Credentials files that cannot be used, read by the real google-auth: the reason is told, never what is in them."""

from __future__ import annotations

import base64
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from remote_runtime.compute.client import credentials, credentials_file
from remote_runtime.compute.iap.session import AccessTokens
from remote_runtime.core.errors import CloudError
from remote_runtime.state.log_file import redact
from tests.support.environment.world import World

SECRET = "GOCSPX-vErYsEcReTvErYsEcReT"
REFRESH = "1//0gSECRETSECRETSECRET"
USER = {"type": "authorized_user", "client_id": "id", "client_secret": SECRET, "refresh_token": REFRESH}
PEM = f"-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----\n"
ROBOT = {
    "type": "service_account",
    "client_email": "robot@demo.iam.gserviceaccount.com",
    "private_key": PEM,
    "token_uri": "https://oauth2.googleapis.com/token",
}
VARIABLE = "GOOGLE_APPLICATION_CREDENTIALS"
HTTPS = "https://compute.googleapis.com"


@pytest.fixture
def no_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """gcloud's folder, where nothing is; google-auth reads this process's environment."""
    for name in ("GCE_METADATA_HOST", "GCE_METADATA_IP"):
        monkeypatch.setenv(name, "127.0.0.1:9")
    monkeypatch.setenv("GCE_METADATA_DETECT_RETRIES", "1")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.delenv(VARIABLE, raising=False)
    return tmp_path


def refusal(monkeypatch: pytest.MonkeyPatch, **variables: str) -> CloudError:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(CloudError) as caught:
        credentials.load(variables, HTTPS)
    error = caught.value
    assert error.code == "no-credentials"
    said = " ".join([*error.as_dict().values(), repr(error.__cause__)])
    assert not [secret for secret in (SECRET, REFRESH, SECRET.encode("utf-16-le").hex()) if secret in said]
    assert "vErYsEcReT" not in said.replace("\\x00", "")
    assert "Error(" not in said
    assert error.__suppress_context__ or error.__context__ is None
    return error


CONTENTS: list[tuple[bytes, str]] = [
    (json.dumps(USER).encode("utf-16"), "UTF-16"),
    (b"\xef\xbb\xbf" + json.dumps(USER).encode(), "BOM"),
    (b"\x80" + json.dumps(USER).encode(), "not UTF-8"),
    (json.dumps(USER).encode()[:-20], "not JSON (line 1, column"),
    (b"", "empty"),
    (json.dumps(SECRET).encode(), "no JSON object"),
    (json.dumps([USER]).encode(), "no JSON object"),
    (json.dumps({**USER, "type": SECRET}).encode(), "unknown `type`"),
    (json.dumps({**USER, "type": [USER]}).encode(), "unknown `type`"),
    (json.dumps({"installed": USER}).encode(), "OAuth client"),
    (json.dumps({"type": "authorized_user", "client_id": "id", "client_secret": SECRET}).encode(), "`refresh_token`"),
    (json.dumps(ROBOT).encode(), "invalid `private_key`"),
    (json.dumps({**ROBOT, "private_key": [PEM]}).encode(), "`private_key`"),
    (json.dumps({**USER, "type": "external_account"}).encode(), "`audience`"),
    (json.dumps({"type": "impersonated_service_account", "source_credentials": USER}).encode(), "impersonation_url"),
    (PEM.encode(), "not JSON"),
    (b"[" * 100_000, "not JSON"),
]


@pytest.mark.parametrize(("content", "why"), CONTENTS, ids=[why for _, why in CONTENTS])
def test_a_file_that_cannot_be_used_is_told_by_its_fault(
    no_others: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, why: str
) -> None:
    path = no_others / "key.json"
    path.write_bytes(content)
    error = refusal(monkeypatch, **{VARIABLE: str(path)})
    assert why in error.why
    assert str(path) in error.why
    assert VARIABLE in error.hint
    # In gcloud's own place it is written anew by signing in.
    path.rename(no_others / "application_default_credentials.json")
    monkeypatch.delenv(VARIABLE)
    error = refusal(monkeypatch, CLOUDSDK_CONFIG=str(no_others))
    assert why in error.why
    assert (VARIABLE in error.hint, "application-default login" in error.hint) == (False, True)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (json.dumps(USER), "contents"),
        (PEM, "contents"),
        (base64.b64encode(json.dumps(ROBOT).encode()).decode(), "does not name a file"),
        (REFRESH, "does not name a file"),
        ('"{}/key.json"', "quotation marks"),
        ("{}/key.json ", "blank"),
        ("$HOME/key.json", "only a shell replaces"),
        ("~/key.json", "only a shell replaces"),
        ("{}/missing.json", "/missing.json, and does not exist"),
        ("{}", "can't be read: Is a directory"),
    ],
)
def test_a_variable_that_names_no_file_is_named_itself(
    no_others: Path, monkeypatch: pytest.MonkeyPatch, value: str, why: str
) -> None:
    (no_others / "key.json").write_text(json.dumps(USER))
    monkeypatch.setenv("HOME", str(no_others))
    error = refusal(monkeypatch, **{VARIABLE: value.replace("{}", str(no_others))})
    assert why in error.why
    assert VARIABLE in error.why
    assert VARIABLE in error.hint


def test_where_gcloud_is_not_installed_the_hint_says_where_to_get_it(no_others: Path, tmp_path: Path) -> None:
    program = tmp_path / "gcloud"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    environ = {"CLOUDSDK_CONFIG": str(no_others)}
    with_it = credentials_file.unusable_error({**environ, "PATH": str(tmp_path)}, "")
    assert with_it.hint == credentials.LOGIN_HINT
    without = credentials_file.unusable_error({**environ, "PATH": ""}, "")
    assert without.why == with_it.why
    assert without.hint == (
        "Install the Google Cloud CLI (https://cloud.google.com/sdk/docs/install), then run "
        "`gcloud auth application-default login`"
    )


def test_what_is_to_be_done_fits_what_was_set(no_others: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A login writes a file that is not looked at while the variable is set, and so does a quota project."""
    path = no_others / "application_default_credentials.json"
    path.write_text(json.dumps(USER))
    own = credentials.load({}, HTTPS)
    assert own.renew_hint == credentials.LOGIN_HINT
    assert own.set_quota_project.startswith("gcloud auth application-default")
    path = path.rename(no_others / "key.json")
    monkeypatch.setenv(VARIABLE, str(path))
    named = credentials.load({VARIABLE: str(path)}, HTTPS)
    assert named.renew_hint.startswith(f"Unset {VARIABLE}, then")
    assert named.set_quota_project == "set GOOGLE_CLOUD_QUOTA_PROJECT="
    # Nobody else's credentials are taken instead of those that were named.
    with sqlite3.connect(no_others / "credentials.db") as database:
        database.execute("CREATE TABLE credentials (account_id TEXT PRIMARY KEY, value BLOB)")
        database.execute("INSERT INTO credentials VALUES (?, ?)", ("me@example.com", json.dumps(USER)))
    database.close()
    monkeypatch.setenv("CLOUDSDK_CORE_ACCOUNT", "me@example.com")
    gcloud = {"CLOUDSDK_CONFIG": str(no_others), "CLOUDSDK_CORE_ACCOUNT": "me@example.com"}
    refusal(monkeypatch, **gcloud, **{VARIABLE: str(no_others / "missing.json")})
    monkeypatch.delenv(VARIABLE)
    assert credentials.load(gcloud, HTTPS).source == "gcloud's login of me@example.com"


def test_a_token_in_the_variable_for_its_file_is_not_repeated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    variable = "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE"
    for token in (SECRET, f"ya29.{SECRET}", f"{SECRET}\0", f"a/{SECRET}", "x" * 5000 + SECRET):
        if "\0" in token:
            with pytest.raises(CloudError) as caught:
                credentials.load({variable: token}, HTTPS)
            assert SECRET not in str(caught.value)
        else:
            assert variable in refusal(monkeypatch, **{variable: token}).why
    (tmp_path / "file").write_text(json.dumps(USER))
    assert "not an access token" in refusal(monkeypatch, **{variable: str(tmp_path / "file")}).why


def external(tmp_path: Path, source: dict[str, Any]) -> str:
    info = {
        "type": "external_account",
        "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/p",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": "https://sts.googleapis.com/v1/token",
        "credential_source": source,
    }
    path = tmp_path / "external.json"
    path.write_text(json.dumps(info))
    return str(path)


def test_what_is_read_only_when_they_are_renewed_is_not_repeated_either(
    no_others: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = no_others / "program"
    program.write_text(f"#!/bin/sh\necho '{SECRET}'\nexit 3\n")
    program.chmod(0o700)
    source: dict[str, Any] = {"file": str(no_others / "subject"), "format": {"type": "json"}}
    source["format"]["subject_token_field_name"] = "id_token"
    (no_others / "subject").write_bytes(json.dumps({"id_token": SECRET}).encode("utf-16"))
    monkeypatch.setenv("GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES", "1")
    run = {"executable": {"command": str(program), "timeout_millis": 5000}}
    for one, why in ((source, "google-auth can't use them (UnicodeDecodeError)"), (run, "non-zero return code 3")):
        monkeypatch.setenv(VARIABLE, external(no_others, one))
        with pytest.raises(CloudError) as caught:
            AccessTokens({VARIABLE: external(no_others, one)}, "wss://relay/v4").get(renew=False)
        assert caught.value.code == "no-credentials"
        assert why in caught.value.why
        assert SECRET not in repr([caught.value.as_dict(), caught.value.__cause__])


def test_nothing_of_the_file_reaches_the_terminal_the_state_or_a_log(world: World) -> None:
    path = world.home / "key.json"
    path.write_bytes(json.dumps(USER).encode("utf-16"))
    world.environ |= {VARIABLE: str(path)}
    world.profile("vm", "version: 1\ntarget: {kind: gce, project: my-proj, instance: my-vm}\n")
    report = world.home / "report.txt"
    said = [world.run("up", "vm", "--json"), world.run("doctor", "vm", "--report", str(report)), world.run("status")]
    texts = [text for each in said for text in (each.out, each.err)]
    texts += [each.read_text(errors="replace") for each in world.home.rglob("*") if each.is_file() and each != path]
    assert said[0].error["code"] == "no-credentials"
    assert "UTF-16" in texts[0]
    assert report.exists()
    assert not [
        text for text in texts if "vErYsEcReT" in text.replace("\\x00", "").replace("\0", "") or REFRESH in text
    ]


def test_secrets_of_google_are_known_by_their_form() -> None:
    tokens = [
        SECRET,
        REFRESH,
        f"ya29.{SECRET}",
        PEM,
        PEM.replace("\n", "\\n"),
        "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxIn0.sig",
    ]
    for token in tokens:
        assert redact(f"said {token}") == "said ***" + (
            "\n" if token.endswith("\n") else "\\n" if "\\n" in token else ""
        )
