"""What this computer's environment and gcloud's files can say: never a bug of ours, and no part of a value is shown."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from remote_runtime.compute import handlers
from remote_runtime.compute.client import credentials, gcloud_config
from remote_runtime.compute.iap.connect import proxy_for
from remote_runtime.compute.iap.session import AccessTokens
from remote_runtime.compute.iap.websocket import ConnectionLost
from remote_runtime.compute.instances import inventory
from remote_runtime.core.deadline import Deadline
from remote_runtime.core.errors import CloudError
from remote_runtime.core.profile import GceTarget

SECRET = "vErYsEcReT"
API = "https://127.0.0.1:9"
PROXIES = [
    f"http://user:{SECRET}@",
    f"http://user:{SECRET}/x@127.0.0.1:9",
    f"http://user:{SECRET}#x@127.0.0.1:9",
    f"http://user:{SECRET}@127.0.0.1:99999",
    f"http://{SECRET}:port",
    f"127.0.0.1 {SECRET}",
    f"http://{SECRET * 8}.com:1",
    f"socks5://user:{SECRET}@127.0.0.1:9",
]


@pytest.fixture
def environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Of somebody with an access token; requests and Google's client read this process's."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "token").write_text(f"ya29.{SECRET}")
    return {
        "CLOUDSDK_CONFIG": str(tmp_path),
        "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE": str(tmp_path / "token"),
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": API,
        "GOOGLE_CLOUD_PROJECT": "demo-project",
    }


def refusal(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, **more: str) -> CloudError:
    for name, value in more.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(CloudError) as caught:
        handlers.find(
            GceTarget(instance="vm1"),
            progress=lambda text: None,
            deadline=Deadline(60),
            environ={**environ, **more},
            before_start=lambda instance: None,
            host_keys_within_s=1.0,
        )
    error = caught.value
    assert SECRET not in " ".join(error.as_dict().values())
    assert error.__suppress_context__ or error.__context__ is None
    return error


@pytest.mark.parametrize("proxy", PROXIES)
def test_a_proxy_that_cannot_be_used_is_named_by_its_variable(
    proxy: str, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    error = refusal(environ, monkeypatch, HTTPS_PROXY=proxy)
    assert error.code == "cloud-unreachable"
    assert "HTTPS_PROXY" in error.why
    assert "HTTPS_PROXY" in error.hint
    with pytest.raises(ConnectionLost) as caught:
        proxy_for(urlsplit("wss://relay.example/v4"), {"HTTPS_PROXY": proxy})
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_certificates_that_are_not_there_are_named_by_their_variable(
    variable: str, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    error = refusal(environ, monkeypatch, **{variable: f"/{SECRET}.pem"})
    assert (error.code, variable in error.why, variable in error.hint) == ("cloud-unreachable", True, True)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("GOOGLE_API_USE_MTLS_ENDPOINT", SECRET),
        ("GOOGLE_CLOUD_UNIVERSE_DOMAIN", ""),
        ("GOOGLE_CLOUD_PROJECT", f"projects/{SECRET}"),
        ("GOOGLE_CLOUD_PROJECT", f"a?key={SECRET}"),
        ("GOOGLE_CLOUD_PROJECT", "\udc80"),
        ("CLOUDSDK_COMPUTE_ZONE", f"projects/x/zones/{SECRET}"),
        ("CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE", SECRET),
        ("CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE", f"https://example.com/?key={SECRET}"),
    ],
)
def test_a_variable_with_a_value_that_cannot_be_is_named(
    variable: str, value: str, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    error = refusal(environ, monkeypatch, **{variable: value})
    assert error.code in ("no-credentials", "no-project", "cloud-unreachable")
    assert variable in f"{error.why} {error.hint}"


def test_a_proxy_that_keeps_credentials_from_their_renewal_is_not_taken_for_credentials_that_are_refused(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    user = {"type": "authorized_user", "client_id": "id", "client_secret": SECRET, "refresh_token": SECRET}
    (tmp_path / "adc.json").write_text(json.dumps(user))
    environ.pop("CLOUDSDK_AUTH_ACCESS_TOKEN_FILE")
    more = {"GOOGLE_APPLICATION_CREDENTIALS": str(tmp_path / "adc.json"), "HTTPS_PROXY": PROXIES[0]}
    assert refusal(environ, monkeypatch, **more).code == "cloud-unreachable"
    with pytest.raises(CloudError) as caught:
        AccessTokens({**environ, **more}, "wss://relay.example/v4").get(renew=False)
    assert caught.value.code == "cloud-unreachable"
    assert "HTTPS_PROXY" in caught.value.why


@pytest.mark.parametrize("active", ["a\0b", "x" * 5000, "../../etc", "\ufeffdefault"])
def test_gclouds_files_can_have_anything_in_them(active: str, tmp_path: Path) -> None:
    (tmp_path / "active_config").write_text(active)
    assert gcloud_config.zone(None, {"CLOUDSDK_CONFIG": str(tmp_path)}) is None
    assert gcloud_config.zone(None, {"HOME": "~nobody-here/x"}) is None


@pytest.mark.parametrize("folder", ["x" * 5000, '{"refresh_token": "vErYsEcReT"}', f"https://me:{SECRET}@host/"])
def test_gclouds_folder_can_be_anything(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDSDK_CONFIG", folder)
    monkeypatch.setenv("GCE_METADATA_HOST", "127.0.0.1:9")
    monkeypatch.setenv("GCE_METADATA_IP", "127.0.0.1:9")
    with pytest.raises(CloudError) as caught:
        credentials.load({"CLOUDSDK_CONFIG": folder}, API)
    assert caught.value.code == "no-credentials"
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("listed", [5, None, {"a": 1}, [5], [{"projectId": 5}], [{"projectId": "fits-well"}]])
def test_a_list_of_projects_can_be_anything(listed: object) -> None:
    assert inventory.parse_project_ids(listed) in ([], ["fits-well"])


@pytest.mark.parametrize(("token_url", "file"), [(f"http://[::1{SECRET}", "/none"), ("https://127.0.0.1:9/t", SECRET)])
def test_a_file_of_an_external_account_can_name_anything(
    token_url: str, file: str, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    info = {"type": "external_account", "audience": "//iam.googleapis.com/a", "token_url": token_url}
    more = {"subject_token_type": "urn:ietf:params:oauth:token-type:jwt", "credential_source": {"file": file}}
    (tmp_path / "adc.json").write_text(json.dumps({**info, **more}))
    environ.pop("CLOUDSDK_AUTH_ACCESS_TOKEN_FILE")
    error = refusal(environ, monkeypatch, GOOGLE_APPLICATION_CREDENTIALS=str(tmp_path / "adc.json"))
    assert error.code == "no-credentials"
