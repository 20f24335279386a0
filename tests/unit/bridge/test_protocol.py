"""The bridge's messages as values."""

from __future__ import annotations

import base64
import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remote_runtime.bridge import protocol

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
NEARLY_REQUESTS = st.fixed_dictionaries(
    {},
    optional={
        "path": JSON | st.text().map(lambda text: "/" + text),
        "method": JSON | st.sampled_from(["GET", "POST", "P@TCH", "G ET", "GET\r\n"]),
        "message_id": JSON,
        "body": JSON,
        "body_base64": JSON | st.binary().map(lambda data: base64.b64encode(data).decode()),
    },
)


def assert_is_a_request_or_refused(message: str | bytes) -> None:
    try:
        asked = protocol.parse_request(message)
    except protocol.BadRequest as refusal:
        answer = json.loads(protocol.error_message(refusal.message_id, 400, refusal.status_text))
        assert answer["statusText"] == protocol.NOT_JSON or "body must contain" in answer["statusText"]
        return
    assert asked.path.startswith("/")
    assert asked.path.isascii()
    assert asked.path.isprintable()
    assert not set(asked.path) & {" ", "#"}
    assert asked.method.isascii()
    assert asked.method.isprintable()
    assert " " not in asked.method
    json.loads(protocol.error_message(asked.message_id, 200, "OK"), parse_constant=pytest.fail)


@given(st.text() | st.binary())
def test_any_text_is_a_request_or_refused(message: str | bytes) -> None:
    assert_is_a_request_or_refused(message)


@given(NEARLY_REQUESTS | JSON)
def test_any_json_is_a_request_or_refused(contents: Any) -> None:
    assert_is_a_request_or_refused(json.dumps(contents))


@pytest.mark.parametrize(
    "message",
    [
        "[" * 100_000,
        '{"a":' * 100_000,
        "9" * 5_000,
        "1e999",
        '{"path": "/\\ud800", "method": "GET", "message_id": 1}',
        '{"path": "/", "method": "POST", "message_id": 1, "body": "\\udfff"}',
        '{"path": "/", "method": "GET", "message_id": 1e999}',
        '{"path": "/", "method": "GET", "message_id": true}',
        '{"path": "/", "method": "GET", "message_id": "\\ud800"}',
        b"\xff\xfe",
        "\ufeff{}",
    ],
)
def test_awkward_messages_are_requests_or_refused(message: str | bytes) -> None:
    assert_is_a_request_or_refused(message)


@given(st.binary(), st.text(), st.integers() | st.text())
def test_bodies_survive_both_spellings(data: bytes, text: str, message_id: int | str) -> None:
    head = {"path": "/a?b=c", "method": "POST", "message_id": message_id}
    encoded = json.dumps({**head, "body_base64": base64.b64encode(data).decode()})
    assert protocol.parse_request(encoded) == protocol.BridgeRequest(message_id, "POST", "/a?b=c", data, False)
    plain = protocol.parse_request(json.dumps({**head, "body": text}))
    assert (plain.body, plain.is_text) == (text.encode(), True)


@given(st.lists(st.tuples(st.sampled_from(["A", "B", "Connection"]), st.text("xyz", min_size=1))), st.binary())
def test_a_first_piece_has_each_header_once_with_every_value(headers: list[tuple[str, str]], data: bytes) -> None:
    answer = json.loads(protocol.chunk(protocol.first_message(1, 200, "OK", headers), data, done=False))
    for name in ("A", "B"):
        assert answer["headers"].get(name, "") == ", ".join(value for key, value in headers if key == name)
    assert "Connection" not in answer["headers"]
    assert base64.b64decode(answer.get("data", "")) == data
    assert ("data" in answer) == bool(data)


def test_paths_are_spelled_as_urls_spell_them() -> None:
    request = '{"path": "/api/contents/gr\\u00fc\\u00dfe und.ipynb?a=%2F&b=1#there", "method": "GET", "message_id": 1}'
    assert protocol.parse_request(request).path == "/api/contents/gr%C3%BC%C3%9Fe%20und.ipynb?a=%2F&b=1"


@pytest.mark.parametrize(
    ("version", "newer"),
    [
        ("0.0.7", False),
        ("0.0.7.0", False),
        ("0.0.1a3", False),
        ("0.0.7rc1", False),
        ("0.0.8.dev1", True),
        ("0.0.8a1", True),
        ("0.0.7.post1", True),
        ("0.0.10", True),
        ("1", True),
        ("v0.0.6+local.1", False),
    ],
)
def test_versions_are_ordered_as_packages_order_them(version: str, newer: bool) -> None:
    assert protocol.is_newer(version) is newer


@given(st.text())
def test_garbage_is_no_version(text: str) -> None:
    if not any(character.isdigit() for character in text):
        with pytest.raises(ValueError, match="not a version"):
            protocol.is_newer(text)
    else:
        with contextlib.suppress(ValueError):
            assert protocol.is_newer(text) in (True, False)


@pytest.mark.parametrize("text", ["", "latest", "1.", ".1", "1..2", "-1", "1 ", "1\n", "9" * 5_000])
def test_these_are_no_versions(text: str) -> None:
    with pytest.raises(ValueError, match="not a version"):
        protocol.is_newer(text)
