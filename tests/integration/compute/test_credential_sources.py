"""As whom Compute Engine is asked: impersonation, gcloud's own login, a service account's key; with google-auth."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from remote_runtime.compute import handlers
from remote_runtime.compute.client import credentials
from remote_runtime.core.deadline import Deadline
from remote_runtime.core.errors import CloudError
from remote_runtime.core.model import Instance
from remote_runtime.core.profile import GceTarget
from remote_runtime.demo.gcp_api.emulator import ComputeEmulator
from remote_runtime.demo.gcp_api.values import Vm
from tests.support.servers.iam import Iam, running_iam

IAM_URL = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts"
ROBOT = "robot@demo.iam.gserviceaccount.com"
TARGET = GceTarget(instance="gpu-box", project="demo")


@pytest.fixture
def iam() -> Iterator[Iam]:
    with running_iam() as service:
        yield service


def environ(tmp_path: Path, **more: str) -> dict[str, str]:
    token = tmp_path / "token"
    token.write_text("ya29.mine")
    return {"CLOUDSDK_CONFIG": str(tmp_path / "gcloud"), "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE": str(token), **more}


def find(emulator: ComputeEmulator, variables: dict[str, str], told: list[str]) -> Instance:
    def tell(text: str) -> None:
        told.append(text)

    return handlers.find(
        TARGET,
        progress=tell,
        deadline=Deadline(20),
        environ={**variables, "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": emulator.endpoint},
        before_start=lambda instance: None,
        host_keys_within_s=0.0,
    )


def acting(tmp_path: Path, iam: Iam, accounts: str) -> dict[str, str]:
    return environ(
        tmp_path,
        CLOUDSDK_AUTH_IMPERSONATE_SERVICE_ACCOUNT=accounts,
        CLOUDSDK_API_ENDPOINT_OVERRIDES_IAMCREDENTIALS=iam.endpoint,
    )


def test_a_service_account_is_acted_as_when_gcloud_is_told_so(tmp_path: Path, iam: Iam) -> None:
    told: list[str] = []
    with ComputeEmulator([Vm("gpu-box", status="RUNNING")]) as emulator:
        found = find(emulator, acting(tmp_path, iam, f"between@demo.iam.gserviceaccount.com, {ROBOT}"), told)
    path, authorization, body = iam.asked[0]
    assert path == f"/v1/projects/-/serviceAccounts/{ROBOT}:generateAccessToken"
    assert authorization == "Bearer ya29.mine"
    assert body["delegates"] == ["projects/-/serviceAccounts/between@demo.iam.gserviceaccount.com"]
    assert found.credentials_from.endswith(f", acting as {ROBOT}")
    assert told[0].endswith(found.credentials_from)


def test_who_may_not_act_as_it_is_told_which_role_is_missing(tmp_path: Path, iam: Iam) -> None:
    iam.refuses = True
    with ComputeEmulator([Vm("gpu-box", status="RUNNING")]) as emulator, pytest.raises(CloudError) as caught:
        find(emulator, acting(tmp_path, iam, ROBOT), [])
    assert caught.value.code == "permission-denied"
    assert caught.value.what == (f"No permission to act as {ROBOT}: iam.serviceAccounts.getAccessToken is missing")
    assert f"add-iam-policy-binding {ROBOT}" in caught.value.hint
    assert "--role=roles/iam.serviceAccountTokenCreator" in caught.value.hint


def test_who_cannot_act_as_it_for_another_reason_reads_that_reason(tmp_path: Path, iam: Iam) -> None:
    """The API that lends credentials is off: no role helps, and the project is the one that Google names."""
    said = "IAM Service Account Credentials API has not been used in project 12345 before or it is disabled."
    info = {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": "SERVICE_DISABLED",
        "domain": "googleapis.com",
        "metadata": {"service": "iamcredentials.googleapis.com", "consumer": "projects/12345"},
    }
    iam.says = 403, {"error": {"code": 403, "message": said, "status": "PERMISSION_DENIED", "details": [info]}}
    with ComputeEmulator([Vm("gpu-box", status="RUNNING")]) as emulator, pytest.raises(CloudError) as caught:
        find(emulator, acting(tmp_path, iam, ROBOT), [])
    assert caught.value.code == "permission-denied"
    assert said in caught.value.why
    assert "gcloud services enable iamcredentials.googleapis.com --project=12345" in caught.value.hint
    iam.says = 404, {"error": {"code": 404, "message": "Not found; Gaia id not found for email", "status": "NOT_FOUND"}}
    with ComputeEmulator([Vm("gpu-box", status="RUNNING")]) as emulator, pytest.raises(CloudError) as caught:
        find(emulator, acting(tmp_path, iam, ROBOT), [])
    assert "Gaia id not found" in caught.value.why
    assert "role" not in caught.value.hint
    assert ROBOT in caught.value.hint
    iam.says = 200, {"accessToken": "ya29.lent", "expireTime": "never"}
    with ComputeEmulator([Vm("gpu-box", status="RUNNING")]) as emulator, pytest.raises(CloudError) as caught:
        find(emulator, acting(tmp_path, iam, ROBOT), [])
    assert "ya29" not in str(caught.value.as_dict())


def test_gclouds_configuration_names_the_account_to_act_as(tmp_path: Path) -> None:
    folder = tmp_path / "gcloud" / "configurations"
    folder.mkdir(parents=True)
    (folder / "config_default").write_text(f"[auth]\nimpersonate_service_account = {ROBOT}\n")
    identity = credentials.load(environ(tmp_path), "https://compute.googleapis.com")
    assert identity.acts_as == ROBOT
    assert "ya29" not in repr(identity)


@pytest.fixture
def without_adc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """gcloud's folder on a computer where nobody has Application Default Credentials; google-auth reads this process's
    environment."""
    folder = tmp_path / "gcloud"
    (folder / "configurations").mkdir(parents=True)
    (folder / "configurations" / "config_default").write_text("[core]\naccount = me@example.com\n")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(folder))
    monkeypatch.setenv("GCE_METADATA_HOST", "127.0.0.1:9")
    monkeypatch.setenv("GCE_METADATA_IP", "127.0.0.1:9")
    monkeypatch.setenv("GCE_METADATA_DETECT_RETRIES", "1")
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    return folder


def gcloud_login(folder: Path, account: str, info: dict[str, str]) -> None:
    with sqlite3.connect(folder / "credentials.db") as database:
        database.execute("CREATE TABLE credentials (account_id TEXT PRIMARY KEY, value BLOB)")
        database.execute("INSERT INTO credentials VALUES (?, ?)", (account, json.dumps(info)))
    database.close()


USER = {"type": "authorized_user", "client_id": "id", "client_secret": "secret", "refresh_token": "refresh"}


def test_gclouds_own_login_serves_where_there_are_no_application_default_credentials(without_adc: Path) -> None:
    gcloud_login(without_adc, "me@example.com", USER)
    identity = credentials.load({"CLOUDSDK_CONFIG": str(without_adc)}, "https://compute.googleapis.com")
    assert identity.credentials.refresh_token == "refresh"  # type: ignore[attr-defined]  # a user's have one
    assert (identity.source, identity.renew_hint) == ("gcloud's login of me@example.com", "Run `gcloud auth login`")


@pytest.mark.parametrize(("account", "info"), [("you@example.com", USER), ("me@example.com", {"type": "p12"})])
def test_a_login_of_somebody_else_or_of_an_unknown_kind_does_not(
    without_adc: Path, account: str, info: dict[str, str]
) -> None:
    gcloud_login(without_adc, account, info)
    with pytest.raises(CloudError) as caught:
        credentials.load({"CLOUDSDK_CONFIG": str(without_adc)}, "https://compute.googleapis.com")
    assert caught.value.hint.endswith("un `gcloud auth application-default login`")


def test_each_kind_of_application_default_credentials_has_its_own_renewal(
    tmp_path: Path, without_adc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(info: dict[str, Any]) -> credentials.Identity:
        path = tmp_path / "adc.json"
        path.write_text(json.dumps(info))
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
        return credentials.load({}, "https://compute.googleapis.com")

    assert load(USER).renew_hint == "Run `gcloud auth application-default login`"
    impersonated = {
        "type": "impersonated_service_account",
        "source_credentials": USER,
        "service_account_impersonation_url": f"{IAM_URL}/{ROBOT}:generateAccessToken",
    }
    assert load(impersonated).renew_hint.endswith(f"login --impersonate-service-account={ROBOT}`")
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    robot = {
        "type": "service_account",
        "client_email": ROBOT,
        "private_key": key.decode(),
        "token_uri": "https://oauth2.googleapis.com/token",
        "project_id": "demo",
    }
    found = load(robot)
    assert (found.project, found.source) == ("demo", f"the key of the service account {ROBOT}")
    assert f"keys list --iam-account={ROBOT}" in found.renew_hint
