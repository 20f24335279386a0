"""The bridge under input that nobody meant well: what ``support/faults/bridge_fuzz`` demands, for whatever comes."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remote_runtime.bridge import protocol
from remote_runtime.bridge.origins import COLAB_ORIGIN
from tests.support.faults.bridge_fuzz import check_credentials, check_head, check_message

METHODS = st.sampled_from(["GET", "HEAD", "POST", "PUT", "OPTIONS", "PROPFIND", "get", "G ET"])
PATHS = st.sampled_from(
    [
        "/",
        "/ws",
        "//ws",
        "/http_over_websocket",
        "/http_over_websocket/proxied_ws",
        "/http_over_websocket/proxied_ws/ws",
    ]
)
LATIN = st.text(st.characters(max_codepoint=255), max_size=20)
HOSTS = st.sampled_from(["localhost:8888", "127.0.0.1", "[::1]:1", "evil.example", "a,b", "", "x@localhost"])
ORIGINS = st.sampled_from([COLAB_ORIGIN, "https://evil.example", "null", "http://localhost:1", "", "http://[", "\xff"])
AUTH_URLS = st.builds("http://{}/?token={}".format, HOSTS, LATIN) | LATIN
QUERIES = st.builds("{}={}&x={}".format, st.sampled_from(["jupyter_http_over_ws_auth_url", "token"]), AUTH_URLS, LATIN)
NAMES = st.sampled_from(["Origin", "Sec-WebSocket-Origin", "Upgrade", "Host", "Authorization", "Vary", "Connection"])
VALUES = ORIGINS | HOSTS | LATIN | st.just("websocket")
HEADERS = st.lists(st.builds("{}: {}".format, NAMES, VALUES), max_size=6)


@given(METHODS, PATHS, LATIN, QUERIES, HOSTS, HEADERS, st.booleans())
@settings(deadline=None)
def test_no_head_of_a_request_opens_the_server_to_strangers(
    method: str, path: str, more: str, query: str, host: str, headers: list[str], quoted: bool
) -> None:
    target = f"{path}{quote(more)}?{quote(query, safe='=&') if quoted else query}"
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *headers, "", ""]
    check_head("\r\n".join(lines).encode("latin1"))


@given(st.binary())
def test_no_bytes_in_place_of_a_request_are_taken_for_a_friend(data: bytes) -> None:
    check_head(data)


@given(QUERIES | LATIN, HOSTS | LATIN, st.booleans())
def test_any_auth_url_gives_credentials_that_fit_into_a_header_or_is_refused(
    query: str, host: str, quoted: bool
) -> None:
    check_credentials(quote(query, safe="=&") if quoted else query, host)


@given(METHODS, PATHS | st.text().map("/".__add__), st.none() | st.text(), st.integers() | st.text())
@settings(deadline=None, max_examples=60)
def test_any_request_in_a_message_is_answered_in_the_bridges_format(
    method: str, path: str, body: str | None, message_id: int | str
) -> None:
    request = {"method": method, "path": path, "message_id": message_id, "headers": {"X-Smuggled": "1"}}
    check_message(json.dumps(request if body is None else {**request, "body": body}))


@given(st.lists(st.tuples(NAMES | LATIN, VALUES)), LATIN, st.integers(100, 599), st.binary())
def test_no_header_of_an_answer_breaks_the_message(
    headers: list[tuple[str, str]], reason: str, status: int, data: bytes
) -> None:
    answer = json.loads(protocol.chunk(protocol.first_message("id", status, reason, headers), data, done=True))
    assert (answer["status"], answer["statusText"], answer["done"]) == (status, reason, True)
    assert not {name.lower() for name in answer["headers"]} & {"connection", "upgrade", "transfer-encoding"}
    for name, value in headers:
        assert name.lower() in ("connection", "upgrade") or value in answer["headers"][name]


@pytest.mark.parametrize(
    "message",
    [
        {"method": "POST", "path": "/", "message_id": 1, "body": "\x00"},
        {"method": "GET", "path": "/?" + "&" * 5_000, "message_id": 1},
        {"method": "GET", "path": "/?" + "a=1&" * 5_000, "message_id": 1},
        {"method": "GET", "path": "/%", "message_id": "\ud800"},
        {"method": "PUT", "path": "/?%ff=%", "message_id": 1.5, "body": ""},
    ],
)
def test_messages_that_fuzzing_found_are_answered(message: dict[str, object]) -> None:
    check_message(json.dumps(message))
