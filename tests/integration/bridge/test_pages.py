"""What the bridge answers over plain HTTP: to the page, to the keeper, and to pages that have no business here."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
from collections.abc import Iterator

import pytest

from tests.support.clients.bridge_client import Answer, http_request, odd_server, open_page
from tests.support.servers.jupyter import COLAB_ORIGIN, JupyterServer

EVIL = "https://evil.example"
NONCE = "00112233445566778899aabbccddeeff"
FOREIGN = [
    EVIL,
    "null",
    "http://localhost:1234",
    "https://colab.research.google.com.evil.example",
    "http://colab.research.google.com",
    "",
]


@pytest.fixture(scope="module")
def server() -> Iterator[JupyterServer]:
    with odd_server() as running:
        yield running


def assert_readable_by_colab(answer: Answer) -> None:
    assert answer.headers["access-control-allow-origin"] == COLAB_ORIGIN
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert "Origin" in answer.headers["vary"]


@pytest.mark.parametrize(
    "path", ["/", "/tree", "/lab", "/files/x", "/api/kernels/0/channels", "/api/colab/build-info", "/nowhere", "/login"]
)
def test_options_on_every_path_is_204_with_cors(server: JupyterServer, path: str) -> None:
    asked = {
        "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": "content-type, x-colab-odd",
        "Access-Control-Request-Private-Network": "true",
    }
    answer = http_request(server, "OPTIONS", path, origin=COLAB_ORIGIN, headers=asked)
    assert answer.status == 204
    assert_readable_by_colab(answer)
    assert answer.headers["access-control-allow-headers"] == "content-type, x-colab-odd"
    assert "PUT" in answer.headers["access-control-allow-methods"]
    assert answer.headers["access-control-allow-private-network"] == "true"


def test_the_private_network_header_is_sent_only_when_asked_for(server: JupyterServer) -> None:
    answer = http_request(server, "OPTIONS", "/api", origin=COLAB_ORIGIN)
    assert "access-control-allow-private-network" not in answer.headers


@pytest.mark.parametrize("origin", FOREIGN)
def test_a_foreign_page_may_read_nothing(server: JupyterServer, origin: str) -> None:
    for method, path in (("OPTIONS", "/api"), ("GET", f"/api/kernelspecs?token={server.token}"), ("GET", "/nowhere")):
        answer = http_request(server, method, path, origin=origin)
        assert answer.status == 403
        assert "access-control-allow-origin" not in answer.headers
        assert "access-control-allow-private-network" not in answer.headers


@pytest.mark.parametrize("destination", ["script", "style", "image", "iframe"])
def test_a_foreign_page_may_include_nothing_though_it_has_the_token(server: JupyterServer, destination: str) -> None:
    """What Chromium sends for a script, a style, an image and a frame of another site: no Origin."""
    mode = "navigate" if destination == "iframe" else "no-cors"
    sent = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": destination}
    path = f"/api/kernelspecs?token={server.token}"
    for referer, status in ((None, 403), (f"{EVIL}/", 403), (f"{COLAB_ORIGIN}/", 200)):
        headers = {**sent, **({"Referer": referer} if referer else {})}
        answer = http_request(server, "GET", path, headers=headers)
        assert answer.status == status
        assert answer.headers.get("cross-origin-resource-policy") == ("cross-origin" if status == 200 else None)
    link = {**sent, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", "Referer": f"{EVIL}/"}
    opened = http_request(server, "GET", path, headers=link)
    assert (opened.status, opened.headers["cross-origin-resource-policy"]) == (200, "same-site")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("origin", FOREIGN)
def test_a_foreign_page_may_change_nothing_though_it_has_the_token(
    server: JupyterServer, method: str, origin: str
) -> None:
    for path in ("/api/kernels", "/odd/echo", "/nowhere"):
        assert http_request(server, method, f"{path}?token={server.token}", origin=origin).status == 403


def test_colabs_page_and_scripts_may_change_things(server: JupyterServer) -> None:
    for number, origin in enumerate((COLAB_ORIGIN, f"http://localhost:{server.port}", None)):
        path = f"/api/contents/{number}.txt?token={server.token}"
        body = b'{"type":"file","format":"text","content":""}'
        assert http_request(server, "PUT", path, origin=origin, body=body).status == 201


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/kernelspecs?token=wrong", 403),
        ("/api/colab/build-info?token=wrong", 403),
        ("/nowhere?token={token}", 404),
        ("/api/nowhere?token={token}", 404),
        ("/api/contents/nowhere?token={token}", 404),
        ("/odd/raises?token={token}", 500),
        ("/api/kernelspecs?token={token}", 200),
        ("/files/nowhere?token={token}", 404),
        ("/odd/moved", 302),
    ],
)
def test_colabs_page_can_read_errors(server: JupyterServer, path: str, status: int) -> None:
    answer = http_request(server, "GET", path.format(token=server.token), origin=COLAB_ORIGIN)
    assert answer.status == status
    assert_readable_by_colab(answer)


def test_answers_vary_by_origin_even_for_requests_without_one(server: JupyterServer) -> None:
    assert "Origin" in http_request(server, "GET", "/api").headers["vary"]


def test_a_wildcard_is_not_believed() -> None:
    with odd_server(extra_config={"ServerApp": {"allow_origin": "*"}}) as server:
        assert_only_these_are_served(server, good=(COLAB_ORIGIN,), bad=(EVIL,))


def test_a_pattern_matches_whole_origins() -> None:
    config = {"allow_origin": "", "allow_origin_pat": r"https://[a-z]+\.good\.example"}
    with odd_server(extra_config={"ServerApp": config}) as server:
        good = ("https://a.good.example", "https://b.good.example")
        bad = (EVIL, COLAB_ORIGIN, "https://a.good.example.evil.example", "xhttps://a.good.example")
        assert_only_these_are_served(server, good=good, bad=bad)


def assert_only_these_are_served(server: JupyterServer, *, good: tuple[str, ...], bad: tuple[str, ...]) -> None:
    for origin in (*good, *bad):
        served = origin in good
        for path in (f"/api/kernelspecs?token={server.token}", "/nowhere"):
            headers = http_request(server, "GET", path, origin=origin).headers
            assert headers.get("access-control-allow-origin") == (origin if served else None)
        posted = http_request(server, "POST", f"/odd/echo?token={server.token}", origin=origin)
        assert posted.status == (200 if served else 403)


@pytest.mark.parametrize("name", ["build-info", "drive", "resources"])
def test_colabs_own_pages_want_the_token_and_are_no_scripts(server: JupyterServer, name: str) -> None:
    assert http_request(server, "GET", f"/api/colab/{name}").status == 403
    answer = http_request(server, "GET", f"/api/colab/{name}?token={server.token}", origin=COLAB_ORIGIN)
    assert answer.status == 200
    assert answer.body.startswith(b")]}'\n")
    assert_readable_by_colab(answer)


def colab_json(server: JupyterServer, name: str) -> dict[str, object]:
    answer = http_request(server, "GET", f"/api/colab/{name}", token=server.token)
    found = json.loads(answer.body.split(b"\n", 1)[1])
    assert isinstance(found, dict)
    return found


def test_build_info_and_drive_have_colabs_shapes(server: JupyterServer) -> None:
    assert colab_json(server, "build-info") == {"release_tag": None}
    assert colab_json(server, "drive") == {"dfs": []}


def test_resources_tell_memory_disks_gpus_and_each_kernels_use(server: JupyterServer) -> None:
    kernel = http_request(server, "POST", "/api/kernels", token=server.token).json()["id"]
    found = colab_json(server, "resources")
    http_request(server, "DELETE", f"/api/kernels/{kernel}", token=server.token)
    memory, disks = found["memory"], found["disks"]
    assert isinstance(memory, dict)
    assert isinstance(disks, list)
    assert 0 < memory["freeBytes"] < memory["totalBytes"]
    assert [entry["uuid"] for entry in memory["kernels"]] == [kernel]
    assert memory["kernels"][0]["usedBytes"] > 1_000_000
    assert disks[0]["filesystem"]["label"] == "kernel"
    assert 0 < disks[0]["filesystem"]["usedBytes"] <= disks[0]["filesystem"]["totalBytes"]
    assert isinstance(found["gpus"], list)


def test_status_tells_versions_origins_kernels_and_requests_by_origin(server: JupyterServer) -> None:
    assert http_request(server, "GET", "/api/remote-runtime").status == 403
    kernel = http_request(server, "POST", "/api/kernels", token=server.token).json()["id"]
    before = http_request(server, "GET", "/api/remote-runtime", token=server.token).json()
    with open_page(server) as page:
        page.request("GET", "/api")
    mine = f"http://localhost:{server.port}"
    http_request(server, "GET", "/api", origin=mine)
    http_request(server, "GET", "/api", origin="https://refused.example")
    found = http_request(server, "GET", "/api/remote-runtime", token=server.token).json()
    http_request(server, "DELETE", f"/api/kernels/{kernel}", token=server.token)
    assert found["bridge"] == "0.1.0"
    assert found["origins"] == [COLAB_ORIGIN]
    assert found["server"]["pid"] == server.pid
    assert set(found["server"]) in ({"jupyter_server", "python", "pid"}, {"notebook", "python", "pid"})
    (entry,) = found["kernels"]
    assert set(entry) == {"id", "name", "path", "state", "last_activity"}
    assert (entry["id"], entry["name"]) == (kernel, "python3")
    # The socket itself, and the request that it carried.
    assert found["requests"][COLAB_ORIGIN] == before["requests"].get(COLAB_ORIGIN, 0) + 2
    assert found["requests"][mine] == before["requests"].get(mine, 0) + 1
    assert found["refused"]["https://refused.example"] == 1


def test_identity_is_proved_without_the_token_and_the_connection_goes_on(server: JupyterServer) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request("GET", f"/api/remote-runtime/identity?nonce={NONCE}")
    answer = connection.getresponse()
    message = b"remote-runtime-identity:" + NONCE.encode()
    proof = hmac.new(server.token.encode(), message, hashlib.sha256).hexdigest()
    assert json.loads(answer.read()) == {"hmac": proof, "bridge": "0.1.0"}
    assert answer.status == 200
    tcp = connection.sock
    connection.request("GET", "/api")
    assert connection.getresponse().status == 200
    assert connection.sock is tcp
    connection.close()


@pytest.mark.parametrize("nonce", ["", "0" * 31, "0" * 129, "g" * 32, "0" * 32 + "%0A"])
def test_a_nonce_that_is_not_32_to_128_hex_characters_is_refused(server: JupyterServer, nonce: str) -> None:
    assert http_request(server, "GET", f"/api/remote-runtime/identity?nonce={nonce}").status == 400


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8888", "", "192.0.2.1", "localhost.evil.example", "[::2]"]
)
def test_no_proof_is_given_to_a_page_that_reached_us_by_another_name(server: JupyterServer, host: str) -> None:
    path = f"/api/remote-runtime/identity?nonce={NONCE}"
    answer = http_request(server, "GET", path, headers={"Host": host})
    assert (answer.status, b"hmac" in answer.body) == (403, False)
    for own in ("localhost:8888", "127.0.0.1", "[::1]:1"):
        assert http_request(server, "GET", path, headers={"Host": own}).status == 200


def test_a_proof_can_cover_where_the_connection_arrived(server: JupyterServer) -> None:
    answer = http_request(server, "GET", f"/api/remote-runtime/identity?nonce={NONCE}&at=x")
    message = f"remote-runtime-identity:{NONCE}@127.0.0.1:{server.port}".encode()
    assert answer.json()["hmac"] == hmac.new(server.token.encode(), message, hashlib.sha256).hexdigest()


def test_a_token_that_could_be_guessed_from_a_proof_is_not_proved() -> None:
    token = "lab2024"
    with odd_server(extra_config={"ServerApp": {"token": token}, "IdentityProvider": {"token": token}}) as server:
        answer = http_request(server, "GET", f"/api/remote-runtime/identity?nonce={NONCE}")
        assert (answer.status, b"hmac" in answer.body) == (404, False)


def test_a_server_without_a_token_has_no_identity_and_still_refuses_foreign_pages() -> None:
    config = {"ServerApp": {"token": ""}, "IdentityProvider": {"token": ""}}
    with odd_server(extra_config=config) as server:
        assert http_request(server, "GET", f"/api/remote-runtime/identity?nonce={NONCE}").status == 404
        assert http_request(server, "POST", "/api/kernels", origin=EVIL, body=b"{}").status == 403
        with open_page(server, auth_url=None) as page:
            assert page.request("GET", "/api/kernels").status == 200


def test_the_bridge_works_below_a_base_url() -> None:
    with odd_server(extra_config={"ServerApp": {"base_url": "/deep/er/"}}) as server:
        assert http_request(server, "GET", f"/deep/er/api/remote-runtime/identity?nonce={NONCE}").status == 200
        assert http_request(server, "GET", f"/deep/er/api/colab/drive?token={server.token}").status == 200
