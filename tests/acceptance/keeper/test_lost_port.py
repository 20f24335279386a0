"""A local port that was another program's for a while: what a page sent there opens nothing any more."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator

import pytest

from tests.support.clients.page import Page
from tests.support.environment import network
from tests.support.environment.waiting import eventually
from tests.support.environment.world import World


@pytest.fixture
def here(world: World) -> Page:
    world.profile("here", "version: 1\ntarget: {kind: local}\n")
    return Page(world.up("here"))


def test_the_token_is_replaced_when_the_port_was_out_of_our_hands_and_the_kernels_stay(
    world: World, here: Page
) -> None:
    kernel = here.start_kernel()
    here.run(kernel, "kept = 42")
    world.keeper("here").kill()
    with stranger_on(port_of(here)) as stranger:
        up = world.run("up", "here")
        assert stranger.getsockname()[1] == port_of(here)
    elsewhere = Page(up.out.strip())
    assert port_of(elsewhere) != port_of(here)
    check(here, elsewhere, kernel, up.err, str(port_of(here)))

    world.keeper("here").kill()  # and nobody can be seen on the port this time
    up = world.run("up", "here")
    again = Page(up.out.strip())
    assert port_of(again) == port_of(elsewhere)
    check(elsewhere, again, kernel, up.err, str(port_of(elsewhere)))

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    up = world.run("up", "here", "--port", str(port))
    moved = Page(up.out.strip())
    assert port_of(moved) == port
    check(again, moved, kernel, up.err, str(port_of(again)))

    unmoved = world.run("up", "here")
    assert Page(unmoved.out.strip()).token == moved.token, "nobody else could have it"
    assert "The token was replaced" not in unmoved.err
    for page in (here, elsewhere, again, moved):
        assert page.token not in world.log("here") + world.run("logs", "here", "--server").out


@pytest.fixture
def without_ipv6() -> Iterator[None]:
    network.switch_ipv6(on=False)
    yield
    network.switch_ipv6(on=True)


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="only root on Linux can take ::1 away")
@pytest.mark.usefixtures("without_ipv6")
def test_ipv6_that_comes_later_is_bound_at_once_or_the_url_goes_around_who_was_quicker(world: World) -> None:
    world.profile("here", "version: 1\ntarget: {kind: local}\n")
    page = Page(world.up("here"))
    kernel, port = page.start_kernel(), port_of(page)
    page.run(kernel, "kept = 42")

    world.keeper("here").suspend()  # so that it is not quicker
    network.switch_ipv6(on=True)
    with socket.create_server(("::1", port), family=socket.AF_INET6):
        world.keeper("here").resume()
        eventually(lambda: world.file("here")["local_host"] == "127.0.0.1", what="it is noticed")
        told = world.look("here")
        assert told["state"] == "ready"
        assert told["url"].startswith(f"http://127.0.0.1:{port}/")
        assert f"[::1]:{port}" in told["last_outage"]["why"]
        assert "http://127.0.0.1:" in world.run("status", "here").out
        again = world.run("up", "here")
        assert again.out.strip() == told["url"]
        assert "127.0.0.1" in again.err
        now = Page(told["url"])
        assert Page(f"http://{now.host}/?token={page.token}").ask("GET", "/api/kernels")[0] == 403
        assert now.run(kernel, "print(kept)") == "42"
    eventually(lambda: answers_on_ipv6(port), what="[::1] is ours once it is free")
    assert world.up("here") == now.url.replace("127.0.0.1", "localhost"), "nobody else could be told it"


def answers_on_ipv6(port: int) -> bool:
    try:
        with socket.create_connection(("::1", port), timeout=5) as connection:
            connection.sendall(b"GET /api HTTP/1.0\r\n\r\n")
            return connection.recv(8) == b"HTTP/1.1"
    except OSError:
        return False


def check(before: Page, now: Page, kernel: str, told: str, port: str) -> None:
    """``told``: by `up`."""
    former = Page(f"http://localhost:{port_of(now)}/?token={before.token}")
    assert former.ask("GET", "/api/kernels")[0] == 403
    assert now.run(kernel, "print(kept)") == "42"
    assert "The token was replaced" in told
    assert f"local port {port}" in told


def port_of(page: Page) -> int:
    return int(page.host.rpartition(":")[2])


def stranger_on(port: int) -> socket.socket:
    def listen() -> socket.socket | None:
        try:
            return socket.create_server(("127.0.0.1", port))
        except OSError:
            return None

    return eventually(listen, what="the dead keeper's port is free")
