"""No token in a server's log at debug level, whatever goes wrong and however it came in."""

from __future__ import annotations

import contextlib
from urllib.parse import quote

import pytest
from websockets.exceptions import InvalidStatus

from tests.support.clients.bridge_client import http_request, odd_server, open_page, open_socket
from tests.support.servers.jupyter import COLAB_ORIGIN, JupyterServer

# Characters that URLs spell in several ways.
ODD_TOKEN = "se+cr/et=to&ken%25~" + "x1" * 8
EVIL = "https://evil.example"


@pytest.mark.parametrize("token", [None, ODD_TOKEN])
def test_the_token_is_nowhere_in_the_debug_log_while_errors_are_provoked(token: str | None) -> None:
    config = {"ServerApp": {"token": token}, "IdentityProvider": {"token": token}} if token else {}
    with odd_server(extra_config=config) as server:
        server.token = token or server.token
        wrong = server.token[:-1] + "0"
        for tried in (server.token, wrong):
            provoke_over_http(server, tried)
            provoke_over_the_bridge(server, tried)
        log = server.log_text()
    for spelling in (server.token, quote(server.token, safe=""), quote(quote(server.token, safe=""), safe="")):
        assert spelling not in log
    # A token that is nearly right is no less secret; only its literal form can be looked for.
    assert wrong not in log
    assert quote(wrong, safe="") not in log
    for shown in ("403 GET", "404 GET", "500 GET", "failed at /odd/raises", "Traceback"):
        assert shown in log
    assert "/http_over_websocket" in log


def provoke_over_http(server: JupyterServer, token: str) -> None:
    spelled = quote(token, safe="")
    for path in ("/api/kernelspecs", "/api/contents/nowhere", "/nowhere", "/odd/raises", "/files/nowhere", "/lab"):
        http_request(server, "GET", f"{path}?token={spelled}", origin=COLAB_ORIGIN)
        http_request(server, "GET", path, token=token)
        http_request(server, "GET", path, headers={"Referer": f"{server.base}/?token={spelled}"})
        http_request(server, "POST", f"{path}?token={spelled}", origin=EVIL)
    http_request(server, "POST", f"/api/kernels?token={spelled}", body=b"{ no JSON")


def provoke_over_the_bridge(server: JupyterServer, token: str) -> None:
    spelled = quote(token, safe="")
    for auth_url in (f"{server.base}/?token={spelled}", f"http://evil.example/?token={spelled}"):
        with open_page(server, auth_url=auth_url) as page:
            for path in ("/api/kernelspecs", "/api/contents/nowhere", "/nowhere", "/odd/raises", "/odd/cannot-be-made"):
                page.request("GET", path)
                page.request("GET", f"{path}?token={spelled}")
        for path in ("/http_over_websocket/proxied_ws/nowhere", "/http_over_websocket/proxied_ws/odd/ws"):
            for origin in (COLAB_ORIGIN, EVIL):
                with (
                    contextlib.suppress(InvalidStatus),
                    open_socket(server, path, auth_url=auth_url, origin=origin),
                ):
                    pass


def test_a_server_that_made_up_its_token_still_shows_it_to_the_person_who_started_it() -> None:
    unset = {"ServerApp": {"token": None}, "IdentityProvider": {"token": None}}
    with odd_server(extra_config=unset) as server:
        http_request(server, "GET", "/api/status")
        log = server.log_text()
    assert "Or copy and paste one of these URLs" in log
    assert "/tree?token=***" not in log
