"""Where Compute Engine is asked, and as whom: the environment, gcloud's configuration, token files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from remote_runtime.compute.client import credentials, gcloud_config
from remote_runtime.compute.client.api import Api, open_api
from remote_runtime.compute.client.gcloud_config import SourcedValue
from remote_runtime.compute.iap.connect import URL_VARIABLE, relay_url
from remote_runtime.compute.instances import inventory
from remote_runtime.compute.login import os_login
from remote_runtime.core.access import LoginIdentity
from remote_runtime.core.deadline import Deadline
from remote_runtime.core.errors import CloudError, SshError

OVERRIDE = "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE"


@pytest.mark.parametrize(
    ("override", "endpoint"),
    [
        ("", "https://compute.googleapis.com"),
        ("http://127.0.0.1:8080/compute/v1/", "http://127.0.0.1:8080"),
        ("http://127.0.0.1:8080/compute/v1", "http://127.0.0.1:8080"),
        ("http://127.0.0.1:8080/secret/prefix/compute/v1/", "http://127.0.0.1:8080/secret/prefix"),
        ("http://127.0.0.1:8080/secret", "http://127.0.0.1:8080/secret"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("https://compute.example.com/compute/v1/", "https://compute.example.com"),
    ],
)
def test_every_form_of_the_endpoint_override_is_understood(override: str, endpoint: str) -> None:
    assert gcloud_config.endpoint({OVERRIDE: override}) == endpoint


@pytest.mark.parametrize("override", ["127.0.0.1:8080", "ftp://127.0.0.1/", "http://", "nonsense"])
def test_an_endpoint_override_that_is_no_url_is_refused(override: str) -> None:
    with pytest.raises(CloudError) as caught:
        gcloud_config.endpoint({OVERRIDE: override})
    assert caught.value.code == "cloud-unreachable"
    assert OVERRIDE in caught.value.why
    assert "nonsense" not in caught.value.why  # it may be a key


SERVICES = [
    gcloud_config.COMPUTE,
    gcloud_config.OS_LOGIN,
    gcloud_config.RESOURCE_MANAGER,
    gcloud_config.IAM_CREDENTIALS,
]


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
@pytest.mark.parametrize(
    "override",
    [
        "http://10.254.254.1:80\\@127.0.0.1/",
        "http://10.254.254.1:80@127.0.0.1/",
        "http://127.0.0.1@10.254.254.1/",
        "http://user:SECRET@localhost/",
        "http://10.254.254.1\t.127.0.0.1/",
        "http://10.254.254.1\n@127.0.0.1/",
        "http://127.0.0.1:80\x00.evil/",
        "http://127.0.0.1%2f@evil/",
        "http://[::1]evil/",
        "http://127.0.0.1:99999/",
        "http://evil#@127.0.0.1/",
        "http://evil?@127.0.0.1/",
        "http://ⅼocalhost/",
    ],
)
def test_an_override_that_can_be_read_in_two_ways_is_refused_for_every_api(
    service: gcloud_config.ApiEndpoint, override: str
) -> None:
    with pytest.raises(CloudError) as caught:
        gcloud_config.endpoint({service.variable: override}, service)
    assert caught.value.code == "cloud-unreachable"
    assert service.variable in caught.value.why
    assert "SECRET" not in caught.value.why


@pytest.mark.parametrize("url", ["ws://10.0.0.1\\@127.0.0.1/v4", "wss://a@b/v4", "ws://10.0.0.1/v4", "https://a/v4"])
def test_so_is_the_relays(url: str) -> None:
    with pytest.raises(SshError) as caught:
        relay_url({URL_VARIABLE: url})
    assert caught.value.code == "iap-unreachable"


def gcloud(folder: Path, *, active: str = "", **configurations: str) -> dict[str, str]:
    (folder / "configurations").mkdir()
    if active:
        (folder / "active_config").write_text(active)
    for name, text in configurations.items():
        (folder / "configurations" / f"config_{name}").write_text(text)
    return {"CLOUDSDK_CONFIG": str(folder)}


def project(environ: dict[str, str], wanted: str | None = None, of_credentials: str | None = None) -> SourcedValue:
    return gcloud_config.project(wanted, environ, of_credentials)


def test_the_project_is_the_first_that_is_named(tmp_path: Path) -> None:
    environ = gcloud(tmp_path, default="[core]\nproject = from-gcloud\n")
    assert project(environ, of_credentials="c") == SourcedValue("from-gcloud", "gcloud's configuration")
    environ["CLOUDSDK_CORE_PROJECT"] = "from-sdk"
    assert project(environ) == SourcedValue("from-sdk", "CLOUDSDK_CORE_PROJECT")
    environ["GOOGLE_CLOUD_PROJECT"] = "from-google"
    assert project(environ) == SourcedValue("from-google", "GOOGLE_CLOUD_PROJECT")
    assert project(environ, "from-profile") == SourcedValue("from-profile", "the profile")


def test_the_credentials_project_comes_last(tmp_path: Path) -> None:
    environ = {"CLOUDSDK_CONFIG": str(tmp_path)}
    assert project(environ, of_credentials="theirs") == SourcedValue("theirs", "the credentials")


def test_no_project_at_all_names_the_profiles_key_and_gclouds_command(tmp_path: Path) -> None:
    with pytest.raises(CloudError) as caught:
        project({"CLOUDSDK_CONFIG": str(tmp_path)})
    assert caught.value.code == "no-project"
    assert "`target.project`" in caught.value.hint
    assert "gcloud config set project" in caught.value.hint


def test_gclouds_active_configuration_is_read(tmp_path: Path) -> None:
    environ = gcloud(
        tmp_path,
        active="work\n",
        default="[core]\nproject = default-project\n",
        work="[core]\nproject = work-project\naccount = me@example.com\n[compute]\nzone = us-east1-b\n",
        home="[core]\nproject = home-project\naccount = me%here\n",
    )
    assert project(environ).value == "work-project"
    assert gcloud_config.zone(None, environ) == SourcedValue("us-east1-b", "gcloud's configuration")
    environ["CLOUDSDK_ACTIVE_CONFIG_NAME"] = "home"
    assert project(environ).value == "home-project"
    assert gcloud_config.account(environ) == "me%here"
    assert gcloud_config.zone(None, environ) is None
    environ["CLOUDSDK_COMPUTE_ZONE"] = "us-west1-a"
    assert gcloud_config.zone(None, environ) == SourcedValue("us-west1-a", "CLOUDSDK_COMPUTE_ZONE")
    assert gcloud_config.zone("europe-west4-a", environ) == SourcedValue("europe-west4-a", "the profile")


def test_gclouds_folder_is_looked_for_in_the_home_directory(tmp_path: Path) -> None:
    folder = tmp_path / ".config" / "gcloud"
    folder.mkdir(parents=True)
    gcloud(folder, default="[core]\nproject = mine\n")
    assert project({"HOME": str(tmp_path)}).value == "mine"


@pytest.mark.parametrize("text", ["no section", "[core\nproject", "\0\xff", "[core]\n"])
def test_a_broken_gcloud_configuration_is_passed_over(tmp_path: Path, text: str) -> None:
    assert project(gcloud(tmp_path, default=text), of_credentials="theirs").value == "theirs"


def test_credentials_are_never_sent_over_plain_http_to_another_computer(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("ya29.secret")
    for environ in ({}, {"CLOUDSDK_AUTH_ACCESS_TOKEN_FILE": str(token)}):
        with pytest.raises(CloudError) as caught:
            credentials.load(environ, "http://compute.example.com")
        assert caught.value.code == "no-credentials"
        assert "plain HTTP" in caught.value.what


@pytest.mark.parametrize(
    "endpoint", ["http://127.0.0.1:80", "http://[::1]", "http://localhost:1", "https://example.com"]
)
def test_a_token_file_is_used_over_https_and_on_loopback(tmp_path: Path, endpoint: str) -> None:
    token = tmp_path / "token"
    token.write_text("ya29.secret\n")
    identity = credentials.load({"CLOUDSDK_AUTH_ACCESS_TOKEN_FILE": str(token)}, endpoint)
    assert identity.credentials.token == "ya29.secret"
    assert "ya29" not in repr(identity)


def test_no_api_gets_credentials_over_plain_http_and_each_refusal_names_its_own_variable(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("ya29.secret")
    environ = {"CLOUDSDK_AUTH_ACCESS_TOKEN_FILE": str(token), "CLOUDSDK_CORE_ACCOUNT": "me@example.com"}
    robot = {"CLOUDSDK_AUTH_IMPERSONATE_SERVICE_ACCOUNT": "robot@demo.iam.gserviceaccount.com"}

    def api(environ: dict[str, str]) -> Api:
        return open_api(environ, progress=lambda _: None, deadline=Deadline(5))

    uses: dict[gcloud_config.ApiEndpoint, Callable[[dict[str, str]], object]] = {
        gcloud_config.COMPUTE: api,
        gcloud_config.OS_LOGIN: lambda environ: os_login.read_access(api(environ), LoginIdentity()),
        gcloud_config.RESOURCE_MANAGER: lambda environ: inventory.list_projects(
            progress=lambda _: None, environ=environ, deadline=Deadline(5)
        ),
        gcloud_config.IAM_CREDENTIALS: lambda environ: api({**environ, **robot}),
    }
    for service, use in uses.items():
        with pytest.raises(CloudError) as caught:
            use({**environ, service.variable: "http://10.254.254.1:8080"})
        assert caught.value.code == "no-credentials"
        assert "plain HTTP" in caught.value.what
        assert service.variable in caught.value.hint


@pytest.mark.parametrize(
    "changed",
    [
        {"token_url": "http://10.254.254.1/token"},
        {"service_account_impersonation_url": "http://10.254.254.1/v1/serviceAccounts/a@b.c:generateAccessToken"},
    ],
)
def test_credentials_that_would_be_renewed_over_plain_http_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, str]
) -> None:
    path = tmp_path / "adc.json"
    info = {
        "type": "external_account",
        "audience": "//iam.googleapis.com/x",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "credential_source": {"file": "/none"},
        "token_url": "https://sts.googleapis.com/v1/token",
    }
    path.write_text(json.dumps({**info, **changed}))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    with pytest.raises(CloudError) as caught:
        credentials.load({"GOOGLE_APPLICATION_CREDENTIALS": str(path)}, "https://compute.googleapis.com")
    assert (caught.value.code, "plain HTTP" in caught.value.what) == ("no-credentials", True)


def test_disabled_credentials_may_go_anywhere() -> None:
    environ = {"CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true"}
    assert credentials.load(environ, "http://emulator.example.com").project is None


@pytest.mark.parametrize("content", ["", "two\nlines", "ключ"])
def test_a_token_file_without_a_token_is_refused_by_name(tmp_path: Path, content: str) -> None:
    token = tmp_path / "token"
    token.write_text(content)
    with pytest.raises(CloudError) as caught:
        credentials.load({"CLOUDSDK_AUTH_ACCESS_TOKEN_FILE": str(token)}, "https://compute.googleapis.com")
    assert caught.value.code == "no-credentials"
    assert str(token) in caught.value.why
    assert "gcloud auth print-access-token" in caught.value.hint


def test_a_missing_token_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(CloudError) as caught:
        credentials.load({"CLOUDSDK_AUTH_ACCESS_TOKEN_FILE": str(tmp_path / "none")}, "https://compute.googleapis.com")
    assert "No such file" in caught.value.why
