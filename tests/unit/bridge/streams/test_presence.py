"""Who is there is a matter of the stream's session, however the request came."""

from __future__ import annotations

import pytest
from tornado.httputil import HTTPConnection, HTTPServerRequest, RequestStartLine

from remote_runtime.bridge.streams.presence import is_attached
from remote_runtime.bridge.streams.server import StreamAddress
from remote_runtime.bridge.virtual_connection import ClientInfo
from tests.support.stream_pair import SERVER, Local, StreamPair


class Context:
    def __init__(self, address: object) -> None:
        self.address = address


def request_of(context: object) -> HTTPServerRequest:
    connection = HTTPConnection()
    vars(connection)["context"] = context
    return HTTPServerRequest(connection=connection, start_line=RequestStartLine("GET", "/", "HTTP/1.0"))


@pytest.mark.parametrize("is_tunnelled", [False, True], ids=["direct", "in a WebSocket"])
def test_a_client_is_there_while_its_session_has_a_carrier(is_tunnelled: bool) -> None:
    pair = StreamPair(lambda number: Local(b""))
    address = StreamAddress(("127.0.0.1", 0))
    address.session = pair.sessions[SERVER]
    request = request_of(
        ClientInfo("localhost", "", "http", "", None, None, address=address) if is_tunnelled else Context(address)
    )
    assert not is_attached(request)
    link = pair.attach()
    assert is_attached(request)
    link.notice(SERVER)
    assert not is_attached(request)


def test_a_client_without_a_stream_is_there() -> None:
    assert is_attached(request_of(Context(("127.0.0.1", 40000))))
    assert is_attached(request_of(None))
