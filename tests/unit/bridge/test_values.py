"""The bridge's judgements: origins, credentials, what is hidden in logs, what nvidia-smi says."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tornado.httputil import HTTPConnection, HTTPHeaders, HTTPServerRequest, RequestStartLine

from remote_runtime.bridge import credentials, identity, log_redaction, resources
from remote_runtime.bridge.origins import COLAB_ORIGIN, Origins, page_of
from remote_runtime.bridge.request_stats import RequestStats
from remote_runtime.bridge.routing import redirect_location
from remote_runtime.bridge.system_load import CpuMeter, fullest_disk
from remote_runtime.core.model import MIN_TOKEN_CHARS

HOST = {"Host": "localhost:8888"}
TOKEN = "0123456789abcdef"


def query(auth_url: str) -> str:
    return f"min_version=0.0.7&jupyter_http_over_ws_auth_url={quote(auth_url, safe='')}"


def test_importing_the_package_imports_neither_tornado_nor_jupyter() -> None:
    code = (
        "import sys, remote_runtime.bridge as b; b._jupyter_server_extension_points();"
        "sys.exit(any(name.partition('.')[0] in ('tornado', 'jupyter_server', 'notebook') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("settings", "origin"),
    [
        ({}, COLAB_ORIGIN),
        ({}, "https://colab.google.com"),
        ({"allow_origin": "*"}, "https://colab.google.com"),
        ({"allow_origin": "*"}, COLAB_ORIGIN),
        ({"allow_origin": "https://a.example"}, "https://a.example"),
        ({"allow_origin": "https://a.example/"}, "https://a.example"),
        ({"allow_origin_pat": r"https://(a|b)\.example"}, "https://b.example"),
    ],
)
def test_listed_origins_are_allowed(settings: dict[str, Any], origin: str) -> None:
    origins = Origins(settings)
    assert origins.allows(origin)
    assert not origins.is_foreign(origin, "localhost")


@pytest.mark.parametrize("host", ["localhost:8888", "127.0.0.1:8888", "[::1]:8888", "rr-x.localhost:8888"])
@pytest.mark.parametrize("origin", ["http://localhost:8888", "https://127.8.9.1:8888", "http://[::1]:8888"])
def test_the_servers_own_pages_are_not_foreign_and_not_listed(origin: str, host: str) -> None:
    assert not Origins({}).is_foreign(origin, host)
    assert not Origins({}).allows(origin)


@pytest.mark.parametrize("origin", ["http://localhost", "https://localhost:1", "http://127.8.9.1:80", "http://[::1]:5"])
def test_another_port_of_this_computer_is_foreign(origin: str) -> None:
    assert Origins({}).is_foreign(origin, "localhost:8888")
    assert Origins({}).is_foreign(origin, "")


@pytest.mark.parametrize(
    ("headers", "page"),
    [
        ({}, None),
        ({"Sec-Fetch-Site": "none"}, None),
        ({"Sec-Fetch-Site": "same-origin", "Referer": "http://localhost:8888/lab"}, None),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}, None),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}, "null"),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "script"}, "null"),
        ({"Sec-Fetch-Site": "same-site", "Sec-Fetch-Dest": "style"}, "null"),
        ({"Sec-Fetch-Site": "same-site", "Referer": "http://localhost:3000/x"}, "http://localhost:3000"),
        ({"Sec-Fetch-Site": "cross-site", "Referer": f"{COLAB_ORIGIN}/drive/1"}, COLAB_ORIGIN),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}, "https://evil.example"),
        ({"Sec-Websocket-Origin": "https://evil.example"}, "https://evil.example"),
    ],
)
def test_the_page_behind_a_request_is_known_by_what_browsers_say(headers: dict[str, str], page: str | None) -> None:
    assert page_of(headers) == page


@pytest.mark.parametrize(
    "origin",
    [
        "",
        "null",
        "https://evil.example",
        f"{COLAB_ORIGIN}:444",
        f"{COLAB_ORIGIN}/",
        f"{COLAB_ORIGIN}.evil.example",
        f"https://evil.example,{COLAB_ORIGIN}",
        "http://localhost.evil.example",
        "http://localhost@evil.example",
        "http://127.0.0.1.evil.example",
        "http://evil.example/http://localhost",
        "file://localhost",
        "http://[::1",
        "http://2130706433",
    ],
)
def test_everything_else_is_foreign(origin: str) -> None:
    for settings in ({}, {"allow_origin": "*"}, {"allow_origin_pat": "https://colab.research.google.com"}):
        assert Origins(settings).is_foreign(origin, "localhost:8888")


@given(st.text())
def test_judging_an_origin_never_fails(origin: str) -> None:
    assert Origins({}).is_foreign(origin, "localhost:8888") in (True, False)


CHROME = {"User-Agent": "Mozilla/5.0 Chrome/147.0", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}


@pytest.mark.parametrize(
    ("uri", "changed", "expected"),
    [
        ("/lab?token=T", {}, "http://rr-x.localhost:8888/lab?token=T"),
        ("/?a=1&token=T", {"Host": "127.0.0.1:8888"}, "http://rr-x.localhost:8888/?a=1&token=T"),
        ("//evil.example/?token=T", {"Host": "[::1]:8888"}, "http://rr-x.localhost:8888//evil.example/?token=T"),
        ("/lab", {}, None),
        ("/lab?token=T", {"Host": "rr-x.localhost:8888"}, None),
        ("/lab?token=T", {"Host": "evil.example:8888"}, None),
        ("/lab?token=T", {"Host": "localhost"}, None),
        ("/lab?token=T", {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}, None),
        ("/lab?token=T", {"User-Agent": "Mozilla/5.0 Version/18.0 Safari/605.1.15"}, None),
        ("/lab?token=T", {"User-Agent": ""}, None),
    ],
)
def test_a_page_that_is_opened_with_the_token_is_led_to_the_servers_own_name(
    uri: str, changed: dict[str, str], expected: str | None
) -> None:
    headers = HTTPHeaders({"Host": "localhost:8888", **CHROME, **changed})
    start_line = RequestStartLine("GET", uri, "HTTP/1.1")
    request = HTTPServerRequest(start_line=start_line, headers=headers, connection=HTTPConnection())
    assert redirect_location(request, ["localhost", "rr-x.localhost"]) == expected
    assert redirect_location(request, ["localhost"]) is None


def test_the_token_is_the_auth_urls() -> None:
    assert credentials.authorization(query(f"http://localhost:8888/?token={TOKEN}"), HOST, "http") == f"token {TOKEN}"
    assert credentials.authorization(query("http://LOCALHOST:8888/lab"), HOST, "http") is None
    assert credentials.authorization("token=T", HOST, "http") == "token T"
    assert credentials.authorization("", {**HOST, "Authorization": "token H"}, "http") == "token H"
    assert credentials.authorization(query("http://h/?token=T"), {"Host": "h:80"}, "http") == "token T"


@pytest.mark.parametrize(
    "auth_url",
    [
        "",
        "/?token=T",
        "https://localhost:8888/?token=T",
        "http://127.0.0.1:8888/?token=T",
        "http://localhost:8889/?token=T",
        "http://localhost/?token=T",
        "http://user@localhost:8888/?token=T",
        "http://localhost:8888@evil.example/?token=T",
        "http://localhost:99999/?token=T",
        "http://[/?token=T",
        "http://localhost:8888/?token=T%0D%0AX:%20y",
    ],
)
def test_an_auth_url_of_another_place_is_refused_without_showing_it(auth_url: str) -> None:
    with pytest.raises(credentials.WrongAuthUrl) as refused:
        credentials.authorization(query(auth_url), HOST, "http")
    assert "token=" not in str(refused.value)


@given(st.text())
def test_any_auth_url_is_judged(auth_url: str) -> None:
    for headers in (HOST, {"Host": auth_url}):
        try:
            found = credentials.authorization(query(auth_url.encode("utf-8", "replace").decode()), headers, "http")
        except credentials.WrongAuthUrl:
            continue
        assert found is None or found.isprintable()


def test_only_the_bridges_own_parameters_are_taken_out_of_a_query() -> None:
    asked = f"a=1&{query('http://x')}&b=%20&jupyter%5Fhttp_over_ws_auth_url=z&c"
    assert credentials.without_our_parameters(asked) == "a=1&b=%20&c"
    assert credentials.arguments("a=1&b=%FF&a=2&c") == {"a": [b"1", b"2"], "b": [b"\xff"], "c": [b""]}


@pytest.mark.parametrize(
    "text",
    [
        f"GET /api?token={TOKEN}&x=1",
        f"GET /?u={quote(quote(f'http://h/?token={TOKEN}', safe=''), safe='')}&x=1",
        f"{{'Authorization': 'token {TOKEN}'}}",
        f'"Authorization": "Bearer {TOKEN}"',
        f"Authorization: {TOKEN}",
        f"('Authorization', 'token {TOKEN}')",
        f"/http_over_websocket?jupyter_http_over_ws_auth_url=http%3A%2F%2Fh%2F%3Ftoken%3D{TOKEN}&x=1",
        f"{{'token': [b'{TOKEN}']}}",
    ],
)
def test_tokens_are_hidden_wherever_urls_and_headers_carry_them(text: str) -> None:
    for known in (TOKEN, "another token"):
        hidden = log_redaction.redact(text, known)
        assert TOKEN not in hidden
        assert hidden == log_redaction.redact(hidden, known)
    assert ("x=1" in text) == ("x=1" in log_redaction.redact(text, ""))


def test_other_text_is_left_alone() -> None:
    text = "200 GET /api/contents/tokens.ipynb?content=1 (alice@127.0.0.1) 3.2ms"
    assert log_redaction.redact(text, TOKEN) == text


def filtered(**record: Any) -> str:
    made = logging.LogRecord("name", record.pop("level", logging.ERROR), "path", 1, record.pop("msg"), **record)
    assert log_redaction.RedactingFilter(lambda: TOKEN, lambda: False).filter(made)
    return logging.Formatter("%(message)s").format(made)


def test_arguments_and_tracebacks_are_hidden_too() -> None:
    try:
        raise ValueError(f"not with {TOKEN}")
    except ValueError:
        text = filtered(msg="failed with %s", args=(TOKEN,), exc_info=sys.exc_info())
    assert TOKEN not in text
    assert "ValueError: not with ***" in text


def test_a_record_whose_arguments_do_not_fit_is_hidden_too() -> None:
    assert TOKEN not in filtered(msg="%d and %s", args=(TOKEN,), exc_info=None)


def test_the_count_of_requests_keeps_a_bounded_number_of_origins() -> None:
    census = RequestStats()
    for number in range(40):
        census.count_request(f"https://{number}.example/" + "x" * 500)
    assert len(census.requests) == 33
    assert census.requests["other"] == 8
    assert max(len(name) for name in census.requests) == 100


def test_the_servers_own_pages_are_counted_by_name_whatever_others_have_invented() -> None:
    census = RequestStats()
    for number in range(40):
        census.count_request(f"https://{number}.example")
        census.count_refused(f"https://{number}.example")
    for _ in range(5):
        census.count_request(COLAB_ORIGIN, is_allowed=True)
        census.count_request(None)
    assert (census.requests[COLAB_ORIGIN], census.requests["none"], census.requests["other"]) == (5, 5, 8)
    assert len(census.refused) == 33


def test_nvidia_smis_lines_become_colabs_gpus() -> None:
    used: set[int] = set()
    first = resources.gpus_from("Tesla T4, 100, 15360, 50, 25\nNVIDIA A100, SXM, 0, 40960, 0, [N/A]\nnoise\n", used)
    assert first == [
        {
            "name": "Tesla T4",
            "memoryUsedBytes": 100 * 1024**2,
            "memoryTotalBytes": 15360 * 1024**2,
            "gpuUtilization": 0.5,
            "memoryUtilization": 0.25,
            "everUsed": True,
        },
        {
            "name": "NVIDIA A100, SXM",
            "memoryUsedBytes": 0,
            "memoryTotalBytes": 40960 * 1024**2,
            "gpuUtilization": 0.0,
            "memoryUtilization": None,
            "everUsed": False,
        },
    ]
    assert resources.gpus_from("Tesla T4, 0, 15360, 0, 0", used)[0]["everUsed"] is True


@pytest.mark.parametrize("name", ["NVIDIA L4", "NVIDIA A100, SXM"])
@pytest.mark.parametrize(("told", "temperature"), [(", 61", 61.0), (", [N/A]", None), ("", None)])
def test_a_gpus_temperature_is_known_where_its_driver_reports_it(
    name: str, told: str, temperature: float | None
) -> None:
    (gpu,) = resources.gpus_from(f"{name}, 100, 15360, 50, [N/A]{told}", set())
    assert (gpu["name"], gpu["gpuUtilization"], gpu["memoryUtilization"]) == (name, 0.5, None)
    assert gpu.get("temperatureCelsius") == temperature


def test_processor_time_is_a_share_of_what_passed_between_two_readings() -> None:
    meter = CpuMeter()
    assert meter.read() is None
    until = time.monotonic() + 1.0
    while time.monotonic() < until:
        pass
    busy = meter.read()
    assert busy is not None
    assert 0.0 < busy <= 1.0
    assert meter.read() == busy, "a moment later there is nothing to measure yet"


def test_the_fullest_disk_is_one_that_exists() -> None:
    disk = fullest_disk()
    assert disk is not None
    assert disk["path"] in ("/", str(Path.home()))
    assert 0 < disk["usedBytes"] <= disk["totalBytes"]


@pytest.mark.parametrize("untold", ["[N/A]", "[Not Supported]", "[Unknown Error]", "", "nan", "-1", "inf"])
def test_what_a_gpu_does_not_tell_is_null(untold: str) -> None:
    """In MIG mode it has no utilisation; one that shares the machine's memory has none of its own."""
    mig, sharing = resources.gpus_from(f"A100, 9011, 40960, {untold}, {untold}\nGB10, {untold}, {untold}, 87, 0", set())
    assert (mig["gpuUtilization"], mig["memoryUtilization"], mig["memoryUsedBytes"]) == (None, None, 9011 << 20)
    assert (sharing["memoryUsedBytes"], sharing["memoryTotalBytes"], sharing["gpuUtilization"]) == (None, None, 0.87)
    assert (mig["everUsed"], sharing["everUsed"]) == (True, True)


@pytest.mark.parametrize(
    ("program", "names"),
    [
        ("echo 'Tesla T4, 100, 15360, 50, 25'", ["Tesla T4"]),
        ("echo 'Tesla T4, 100, 15360, 50, 25'; exit 9", []),
        ("exec sleep 60", []),
        ("head -c 20000000 /dev/zero; echo; echo 'Tesla T4, 1, 2, 3, 4'; : > \"${0%/*}/read-to-its-end\"", []),
        (None, []),
    ],
    ids=["answers", "fails", "hangs", "goes on", "missing"],
)
def test_nvidia_smi_is_asked_and_not_waited_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str | None, names: list[str]
) -> None:
    if program is not None:
        (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{program}\n")
        (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    began = time.monotonic()
    found = asyncio.run(resources.ResourceMonitor().read(None))
    assert [gpu["name"] for gpu in found["gpus"]] == names
    assert not (tmp_path / "read-to-its-end").exists()
    assert time.monotonic() - began < 30


def test_both_sides_know_how_short_a_token_can_be() -> None:
    assert identity.MIN_TOKEN_CHARS == MIN_TOKEN_CHARS
