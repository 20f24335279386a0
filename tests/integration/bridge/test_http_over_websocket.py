"""HTTP over the bridge's WebSocket: every promise of the wire format, against a real server."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.support.clients.bridge_client import (
    BridgeSocket,
    auth_url_of,
    http_request,
    odd_server,
    open_page,
    open_socket,
)
from tests.support.servers.jupyter import JupyterServer

UNCAUGHT = "Uncaught server-side exception. Check logs for additional details."


@pytest.fixture(scope="module")
def server() -> Iterator[JupyterServer]:
    with odd_server() as running:
        yield running


@pytest.fixture
def page(server: JupyterServer) -> Iterator[BridgeSocket]:
    with open_page(server, query={"min_version": "0.0.7"}) as opened:
        yield opened


def test_a_request_is_answered_with_status_headers_and_body(page: BridgeSocket) -> None:
    answer = page.request("GET", "/api/kernelspecs")
    assert (answer.status, answer.reason) == (200, "OK")
    assert answer.headers["Content-Type"].startswith("application/json")
    assert "python3" in answer.json()["kernelspecs"]
    assert answer.pieces[-1]["done"] is True


def test_a_query_in_the_path_reaches_the_handler(page: BridgeSocket) -> None:
    assert page.request("GET", "/odd/echo?a=1&b=%2F").json()["uri"] == "/odd/echo?a=1&b=%2F"


def test_a_text_body_arrives_as_utf_8(page: BridgeSocket) -> None:
    seen = page.request("POST", "/odd/echo", body="grüße").json()
    assert seen["body"].encode("latin1").decode() == "grüße"


def test_a_base64_body_arrives_byte_for_byte(page: BridgeSocket) -> None:
    every_byte = bytes(range(256))
    seen = page.request("PUT", "/odd/echo", body_base64=base64.b64encode(every_byte).decode()).json()
    assert seen["body"].encode("latin1") == every_byte


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "PROPFIND"])
def test_any_method_reaches_the_handler(page: BridgeSocket, method: str) -> None:
    assert page.request(method, "/odd/echo").json()["method"] == method


def test_a_method_that_the_server_does_not_know_is_answered_405(page: BridgeSocket) -> None:
    assert page.request("BREW", "/odd/echo").status == 405


def test_head_has_headers_and_no_body(page: BridgeSocket) -> None:
    answer = page.request("HEAD", "/static/favicon.ico")
    assert answer.status == 200
    assert int(answer.headers["Content-Length"]) > 0
    assert answer.body == b""


def test_status_and_headers_come_only_in_the_first_of_pieces_of_at_most_64_kib(
    page: BridgeSocket, server: JupyterServer
) -> None:
    content = bytes(range(256)) * 1024
    (server.root_dir / "pieces.bin").write_bytes(content)
    answer = page.request("GET", "/files/pieces.bin")
    assert answer.body == content
    first, *rest = answer.pieces
    assert set(first) == {"message_id", "status", "statusText", "headers", "data", "done"}
    assert rest
    assert all(set(piece) == {"message_id", "data", "done"} for piece in rest)
    assert [piece["done"] for piece in answer.pieces] == [False] * len(rest) + [True]
    assert max(len(base64.b64decode(piece["data"])) for piece in answer.pieces) == 64 * 1024


def test_an_empty_body_takes_one_message_without_data(page: BridgeSocket) -> None:
    answer = page.request("GET", "/odd/twice")
    assert len(answer.pieces) == 1
    assert "data" not in answer.pieces[0]
    assert answer.pieces[0]["done"] is True


def test_a_header_that_occurs_twice_is_joined(page: BridgeSocket) -> None:
    assert page.request("GET", "/odd/twice").headers["X-Twice"] == "one, two"


def test_headers_of_one_hop_are_not_forwarded(page: BridgeSocket) -> None:
    assert not {"Connection", "Transfer-Encoding"} & set(page.request("GET", "/odd/twice").headers)


def test_the_handshakes_own_headers_do_not_reach_the_handler(page: BridgeSocket) -> None:
    seen = {name.lower() for name, _ in page.request("POST", "/odd/echo", body="{}").json()["headers"]}
    assert not seen & {"upgrade", "connection", "origin", "cookie", "sec-websocket-key", "sec-websocket-version"}


@pytest.mark.parametrize("message", ["", "{", "[]", "null", '"text"', "[" * 50_000, '{"message_id": NaN}'])
def test_bad_json_is_answered_400(page: BridgeSocket, message: str) -> None:
    page.socket.send(message)
    assert page.receive() == {"done": True, "status": 400, "statusText": "JSON input is required."}


@pytest.mark.parametrize("missing", ["path", "method"])
def test_a_missing_key_is_answered_400_with_the_message_id(page: BridgeSocket, missing: str) -> None:
    request = {"path": "/api", "method": "GET", "message_id": 7}
    del request[missing]
    page.socket.send(json.dumps(request))
    answer = page.receive()
    assert (answer["status"], answer["message_id"], answer["done"]) == (400, 7, True)
    assert "body must contain" in answer["statusText"]
    assert missing in answer["statusText"]


def test_a_missing_message_id_is_answered_400_without_one(page: BridgeSocket) -> None:
    page.socket.send(json.dumps({"path": "/api", "method": "GET"}))
    answer = page.receive()
    assert "body must contain" in answer["statusText"]
    assert "message_id" not in answer


def test_a_body_that_is_no_base64_is_answered_400(page: BridgeSocket) -> None:
    assert page.request("POST", "/odd/echo", body_base64="!").status == 400


@pytest.mark.parametrize("path", ["http://127.0.0.1:1/", "//127.0.0.1:1/api", "api", "/a\r\nX: y", "/a\x00"])
def test_a_path_cannot_leave_the_server_or_smuggle_lines(page: BridgeSocket, path: str) -> None:
    answer = page.request("GET", path)
    assert answer.status in (302, 400, 404)
    assert not answer.headers.get("Location", "/").startswith("//")


def test_a_path_cannot_climb_out_of_the_servers_root(page: BridgeSocket, server: JupyterServer) -> None:
    (server.root_dir.parent / "outside.txt").write_text("outside")
    for path in ("/files/../outside.txt", "/files/..%2Foutside.txt", "/api/contents/../outside.txt"):
        answer = page.request("GET", path)
        assert answer.status in (400, 403, 404)
        assert b"outside\n" not in answer.body


@pytest.mark.parametrize(("path", "status"), [("/api/contents/absent", 404), ("/odd/raises", 500)])
def test_an_error_of_the_target_is_passed_through(page: BridgeSocket, path: str, status: int) -> None:
    answer = page.request("GET", path)
    assert answer.status == status
    assert answer.body


def test_a_redirect_is_passed_through(page: BridgeSocket) -> None:
    answer = page.request("GET", "/odd/moved")
    assert (answer.status, answer.headers["Location"]) == (302, "/somewhere/else")


def test_an_internal_failure_is_answered_500_and_the_socket_goes_on(page: BridgeSocket) -> None:
    answer = page.request("GET", "/odd/cannot-be-made")
    assert (answer.status, answer.reason) == (500, UNCAUGHT)
    assert page.request("GET", "/api").status == 200


def test_writing_requests_need_no_xsrf_cookie_over_the_bridge(page: BridgeSocket) -> None:
    made = page.request("PUT", "/api/contents/new.txt", body='{"type":"file","format":"text","content":"hello"}')
    assert made.status == 201
    assert page.request("GET", "/files/new.txt").body == b"hello"
    assert page.request("PATCH", "/api/contents/new.txt", body='{"path":"old.txt"}').status == 200
    assert page.request("DELETE", "/api/contents/old.txt").status == 204
    assert page.request("GET", "/api/contents/old.txt").status == 404


def test_a_handler_that_checks_xsrf_by_itself_is_satisfied_for_who_has_the_token(
    page: BridgeSocket, server: JupyterServer
) -> None:
    for body in ("{}", None):
        asked = {} if body is None else {"body": body}
        answer = page.request("POST", "/odd/checked?a=1", **asked)
        assert (answer.status, answer.json()) == (200, {"query": True, "uri": "/odd/checked?a=1"})
    for auth_url in (None, f"{server.base}/?token=wrong"):
        with open_page(server, auth_url=auth_url) as stranger:
            assert stranger.request("POST", "/odd/checked", body="{}").status == 403


def test_a_method_in_small_letters_is_the_same_method(page: BridgeSocket) -> None:
    assert page.request("post", "/odd/echo", body="x").json()["method"] == "POST"


def test_writing_requests_without_a_token_still_meet_the_xsrf_check(server: JupyterServer) -> None:
    assert http_request(server, "POST", "/api/contents", body=b"{}").status == 403


@pytest.mark.parametrize("token", [None, "wrong"])
def test_without_the_token_the_servers_own_403_is_passed_through(server: JupyterServer, token: str | None) -> None:
    auth_url = f"{server.base}/?token={token}" if token else None
    with open_page(server, auth_url=auth_url) as page:
        assert page.request("GET", "/api/kernels").status == 403


@pytest.mark.parametrize("auth_url", ["http://evil.example/?token=T", "https://{host}/?token=T", "ftp://{host}/", "::"])
def test_an_auth_url_of_another_place_makes_requests_answer_500(server: JupyterServer, auth_url: str) -> None:
    with open_page(server, auth_url=auth_url.format(host=f"127.0.0.1:{server.port}")) as page:
        answer = page.request("GET", "/api/kernels")
        assert (answer.status, answer.reason) == (500, UNCAUGHT)


def test_the_local_port_may_differ_from_the_servers(server: JupyterServer) -> None:
    host = "localhost:9999"
    with open_page(server, auth_url=auth_url_of(server, host=host), host=host) as page:
        assert page.request("GET", "/api/kernels").status == 200


def test_a_foreign_origin_is_refused_though_it_has_the_token(server: JupyterServer) -> None:
    for path in ("/http_over_websocket", "/http_over_websocket/diagnose"):
        with (
            pytest.raises(InvalidStatus) as refused,
            open_socket(server, path, origin="https://evil.example"),
        ):
            pass
        assert refused.value.response.status_code == 403


@pytest.mark.parametrize("version", ["0.0.7", "0.0.1a3", "0.0.6"])
def test_an_older_or_equal_min_version_is_accepted(server: JupyterServer, version: str) -> None:
    with open_page(server, query={"min_version": version}) as page:
        assert page.request("GET", "/api").status == 200


def test_a_newer_min_version_is_accepted_with_a_log_line(server: JupyterServer) -> None:
    with open_page(server, query={"min_version": "99.1"}) as page:
        assert page.request("GET", "/api").status == 200
    assert "wants bridge protocol '99.1'" in server.log_text()


@pytest.mark.parametrize("path", ["/http_over_websocket", "/http_over_websocket/diagnose"])
def test_an_unparseable_min_version_closes_the_socket_and_says_so(server: JupyterServer, path: str) -> None:
    with open_socket(server, path, query={"min_version": "latest"}) as socket:
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(timeout=20)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.reason == 'Invalid "min_version" provided: latest'
        assert closed.value.rcvd.code == 1008


@pytest.mark.parametrize(("version", "outdated"), [("0.0.7", False), ("0.0.8", True)])
def test_diagnose_tells_versions_and_authentication(server: JupyterServer, version: str, outdated: bool) -> None:
    for auth_url, authenticated in (("", True), (None, False)):
        with open_socket(
            server, "/http_over_websocket/diagnose", query={"min_version": version}, auth_url=auth_url
        ) as socket:
            for message in ("probe 1", ""):
                socket.send(message)
                assert json.loads(socket.recv(timeout=20)) == {
                    "message_id": message,
                    "extension_version": "0.0.7",
                    "has_authentication_cookie": authenticated,
                    "is_outdated_extension": outdated,
                }
