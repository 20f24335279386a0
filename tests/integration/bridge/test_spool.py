"""A client that does not read costs the server disk, not memory; without disk it loses its stream only."""

from __future__ import annotations

import resource
from collections.abc import Iterator

import pytest

from remote_runtime.bridge.streams.protocol import frames
from tests.support.clients.raw_carrier import RawCarrier
from tests.support.faults.stopped_reader import print_to_stopped_reader, stream_kernel, unlimited_server
from tests.support.servers.jupyter import JupyterServer

COUNT = 60  # MB
MAX_GROWN_BYTES = 40_000_000


@pytest.fixture(scope="module")
def server() -> Iterator[JupyterServer]:
    with unlimited_server() as running:
        yield running


def test_what_a_stopped_reader_is_printed_waits_on_disk_and_arrives_later(server: JupyterServer) -> None:
    printed = print_to_stopped_reader(server, COUNT, limit_s=90)
    assert printed.grown_bytes < MAX_GROWN_BYTES
    assert printed.numbers == list(range(COUNT))


def test_a_stream_that_cannot_be_kept_on_disk_is_reset_with_the_reason(server: JupyterServer) -> None:
    with RawCarrier(server.port, server.token) as carrier, stream_kernel(server, carrier) as kernel:
        # As on a full disk, a write fails in the middle.
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (2_500_000, resource.RLIM_INFINITY))
        kernel.execute("for number in range(40): print('x' * 1_000_000, flush=True)")
        while (received := carrier.receive())[0] != frames.RESET:
            assert received[0] in (frames.ACK, frames.DATA)
        assert received[3] == b"the spool cannot be written: File too large"
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        asked = f"GET /api HTTP/1.1\r\nHost: localhost:{server.port}\r\n\r\n"
        carrier.send(frames.frame(frames.DATA, 2, 0, asked.encode()))
        assert carrier.receive_data(2).startswith(b"HTTP/1.1 200")
