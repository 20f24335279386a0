"""Who came to the local port, as `status` tells it: those who said nothing, those who spoke, and Colab's page."""

from __future__ import annotations

import socket

from tests.support.clients.page import Page
from tests.support.environment.waiting import eventually
from tests.support.environment.world import World

PERMISSION = "Access other apps and services on this device"


def test_connections_that_say_nothing_are_told_from_requests_of_colabs_page(world: World) -> None:
    world.profile("here", "version: 1\ntarget: {kind: local}\n")
    url = world.up("here")
    port = world.look("here")["local_port"]
    for _ in range(2):
        assert connections(world) == (0, 0, 0), "the keeper's own checks are no visitors"
    assert PERMISSION not in world.run("status").out

    for host in ("127.0.0.1", "::1"):
        with socket.create_connection((host, port)):
            eventually(lambda: connections(world)[2] == 1, what="one that waits")
            assert PERMISSION in world.run("status").out
        eventually(lambda: connections(world)[2] == 0, what="it has left")
    assert connections(world) == (0, 2, 0)

    Page(url, origin=url.partition("/?")[0]).ask("GET", "/api/kernels")
    assert connections(world) == (1, 2, 0)
    assert world.look("here")["page_requests"] == 0, "a page of this computer is not Colab's"
    assert PERMISSION in world.run("status").out

    Page(url).ask("GET", "/api/kernels")
    assert connections(world) == (2, 2, 0)
    assert world.look("here")["page_requests"] == 1
    assert PERMISSION not in world.run("status").out


def test_a_page_that_was_heard_once_is_not_taken_for_a_silent_browser_when_jupyter_starts_anew(world: World) -> None:
    world.profile("here", "version: 1\ntarget: {kind: local}\n")
    url = world.up("here")
    page = Page(url)
    page.ask("GET", "/api/kernels")
    world.run("ssh", "here", "--", f"kill -9 {world.look('here')['server']['pid']}")
    eventually(lambda: world.look("here")["state"] != "ready")
    eventually(lambda: world.look("here")["state"] == "ready", within_s=60)
    with socket.create_connection(("127.0.0.1", int(page.host.partition(":")[2]))):
        eventually(lambda: connections(world)[2] == 1)
        assert world.look("here")["page_requests"] == 1, "kept, though the new server counts from nothing"
        assert PERMISSION not in world.run("status").out


def connections(world: World) -> tuple[int, int, int]:
    """Carried, empty, waiting."""
    found = world.look("here")["connections"]
    return found["carried"], found["empty"], found["waiting"]
